//! The clusters that stories are told on, with a hub and a laptop beside them.

use std::time::Duration;

use serde_json::Value;
use testkit::{
    BUSYBOX, Cluster, ClusterNode, ClusterOptions, Failure, OWNER, Stack, Throttle, poll,
    poll_within, retry,
};

/// How fast the hub is for the node that is far from it.
const SLOW: u64 = 640 << 10;
/// Shorter than a fetch from there, and long enough for a pod's sandbox.
const SHORT_PATIENCE: &str = "runtimeRequestTimeout: 12s";
/// How soon a kubelet renews the files of a ConfigMap that was edited: usually within a minute.
const EAGER: &str = "syncFrequency: 5s";
/// Keeps pods away from the far node that do not ask for it.
pub(crate) const FAR: &str = "far";

/// Where the stories take place.
#[derive(Debug)]
pub struct Stage {
    /// The cluster, with two nodes.
    pub cluster: Cluster,
    /// The hub's slow entrance.
    pub(crate) _throttle: Option<Throttle>,
    /// Hub, laptop and registry.
    pub stack: Stack,
}

impl Stage {
    /// Starts a cluster whose nodes were made by hand: `node1`, and `node2`, whose hub is slow and whose kubelet has
    /// little patience.
    ///
    /// # Errors
    /// Fails with what did not start.
    pub fn new() -> Result<Self, Failure> {
        let stack = published()?;
        let throttle = Throttle::start(&stack.world, SLOW)?;
        let far = ClusterNode {
            hub: Some(throttle.port()),
            kubelet: SHORT_PATIENCE.to_owned(),
            ..ClusterNode::default()
        };
        let cluster = stack.cluster(ClusterOptions {
            nodes: vec![ClusterNode::default(), far],
            ..ClusterOptions::default()
        })?;
        cluster.kubectl(&["taint", "node", "node2", &format!("{FAR}=true:NoSchedule")])?;
        Ok(Self {
            cluster,
            _throttle: Some(throttle),
            stack,
        })
    }

    /// Starts a cluster that Nival was installed in by its chart, on nodes that had nothing of it.
    ///
    /// # Errors
    /// Fails with what did not start, or was not installed.
    pub fn installed() -> Result<Self, Failure> {
        let stack = published()?;
        publish_more(&stack)?;
        let eager = ClusterNode {
            kubelet: EAGER.to_owned(),
            ..ClusterNode::default()
        };
        let options = ClusterOptions {
            nodes: vec![eager; 2],
            ..ClusterOptions::default()
        };
        let cluster = stack.installed_cluster(options, &crate::installed::values())?;
        let token = stack.hub.token(OWNER, &["--scope", "read"])?;
        cluster.kubectl(&[
            "create",
            "secret",
            "generic",
            "demo-hub",
            "--namespace=nival-system",
            &format!("--from-literal=token={token}"),
        ])?;
        Ok(Self {
            cluster,
            _throttle: None,
            stack,
        })
    }

    /// Tells a story in a namespace of its own, which is gone afterwards with everything in it.
    ///
    /// # Errors
    /// Fails with what did not come about as told, and the namespace's events.
    pub fn tell(&mut self, story: super::Story) -> Result<(), Failure> {
        let namespace = namespace(story.name);
        self.kubectl(&["create", "namespace", &namespace])?;
        // The controller makes it a moment later, and no pod is admitted before.
        retry("the namespace's account", || {
            self.kubectl(&["get", "serviceaccount", "default", "-n", &namespace])
        })?;
        self.kubectl(&[
            "config",
            "set-context",
            "--current",
            "--namespace",
            &namespace,
        ])?;
        let told = (story.tell)(self);
        let told = told.map_err(|failure| {
            let events = self.kubectl(&["get", "events", "--sort-by=.lastTimestamp"]);
            let pods = self.kubectl(&["get", "pods", "-o", "wide"]);
            Failure::Text(format!(
                "{failure}\n{}\n{}",
                pods.unwrap_or_default(),
                events.unwrap_or_default()
            ))
        });
        // Its pods may take their time to end; nothing of them is in the next story's way.
        let deleted = self.kubectl(&["delete", "namespace", &namespace, "--wait=false"]);
        told.and(deleted.map(drop))
    }

    /// Runs `kubectl` in the story's namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, Failure> {
        self.cluster.kubectl(arguments)
    }

    /// Waits until a pod, a deployment or a job says of itself that it is so.
    pub(crate) fn wait(&self, what: &str, condition: &str) -> Result<(), Failure> {
        let wish = format!("--for={condition}");
        self.kubectl(&["wait", what, &wish, "--timeout=90s"])
            .map(drop)
            .map_err(|failure| {
                let described = self.kubectl(&["describe", what]).unwrap_or_default();
                Failure::Text(format!("{failure}\n{described}"))
            })
    }

    /// Waits until a pod is ready.
    pub(crate) fn ready(&self, pod: &str) -> Result<(), Failure> {
        self.wait(&format!("pod/{pod}"), "condition=Ready")
    }

    /// Deletes a pod whose successor has the same name, and waits until that one is ready: what controllers say of their pods
    /// is old for a moment.
    pub(crate) fn replace(&self, pod: &str, namespace: Option<&str>) -> Result<(), Failure> {
        let place: Vec<String> = namespace.iter().map(|one| format!("-n={one}")).collect();
        let ask = |words: &[&str]| {
            let place = place.iter().map(String::as_str);
            self.kubectl(&words.iter().copied().chain(place).collect::<Vec<_>>())
        };
        let uid = ["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"];
        let old = ask(&uid)?;
        ask(&["delete", "pod", pod, "--timeout=60s"])?;
        poll("the pod to be replaced", || {
            Ok(ask(&uid).ok().filter(|new| *new != old))
        })?;
        let ready = format!("pod/{pod}");
        ask(&["wait", &ready, "--for=condition=Ready", "--timeout=90s"]).map(drop)
    }

    /// Waits until a workload says that all its pods are of its newest revision, and ready.
    pub(crate) fn rolled_out(&self, workload: &str) -> Result<(), Failure> {
        self.kubectl(&["rollout", "status", workload, "--timeout=120s"])
            .map(drop)
            .map_err(|failure| {
                let described = self.kubectl(&["describe", workload]).unwrap_or_default();
                Failure::Text(format!("{failure}\n{described}"))
            })
    }

    /// Gives the ordinary image with a shell another name on every node, as if it had been pulled by it.
    pub(crate) fn name_images(&self, name: &str) -> Result<(), Failure> {
        for (_, node) in self.cluster.nodes() {
            let tag = format!(
                "{} images tag --force {BUSYBOX} {name} >/dev/null",
                node.ctr()
            );
            node.machine().shell(&tag)?;
        }
        Ok(())
    }

    /// Runs a pod to its end, which has to be a good one, and returns what it wrote.
    pub(crate) fn run_to_end(&self, pod: &str, manifest: &str) -> Result<String, Failure> {
        self.cluster.apply(manifest)?;
        let phase = poll_within(Duration::from_secs(90), "the pod to end", || {
            let phase = self.get(pod, "{.status.phase}")?;
            Ok(matches!(&*phase, "Succeeded" | "Failed").then_some(phase))
        });
        let logs = || self.kubectl(&["logs", pod, "--all-containers", "--prefix"]);
        match phase.as_deref() {
            Ok("Succeeded") => self.kubectl(&["logs", pod]),
            _ => Err(Failure::Text(format!(
                "pod {pod} ended badly: {phase:?}\n{}\n{}",
                logs().unwrap_or_default(),
                self.kubectl(&["describe", "pod", pod]).unwrap_or_default()
            ))),
        }
    }

    /// Waits until a container has said something with this part in it, and returns all that it said.
    pub(crate) fn said(&self, pod: &str, container: &str, part: &str) -> Result<String, Failure> {
        let mut said = String::new();
        poll("a container's words", || {
            said = self.kubectl(&["logs", pod, "-c", container])?;
            Ok(said.contains(part).then(|| said.clone()))
        })
        .map_err(|failure| Failure::Text(format!("{failure}: {part:?} is not in {said:?}")))
    }

    /// Returns a field of a pod.
    pub(crate) fn get(&self, pod: &str, path: &str) -> Result<String, Failure> {
        self.kubectl(&["get", "pod", pod, "-o", &format!("jsonpath={path}")])
    }

    /// Runs a script of a shell in a pod's container and returns what it wrote.
    pub(crate) fn exec(&self, pod: &str, script: &str) -> Result<String, Failure> {
        self.kubectl(&["exec", pod, "--", "sh", "-c", script])
    }

    /// Waits until an event of a pod has all these words in it, and returns its text.
    pub(crate) fn event(&self, pod: &str, words: &[&str]) -> Result<String, Failure> {
        self.event_of("Pod", pod, words)
    }

    /// Waits until an event of an object has all these words in it, and returns its text.
    pub(crate) fn event_of(
        &self,
        kind: &str,
        name: &str,
        words: &[&str],
    ) -> Result<String, Failure> {
        let mut seen = Vec::new();
        poll("an event", || {
            seen = self.events(kind, name)?;
            let tells = |text: &&String| words.iter().all(|word| text.contains(word));
            Ok(seen.iter().find(tells).cloned())
        })
        .map_err(|failure| {
            Failure::Text(format!(
                "{failure} with {words:?}; seen: {}",
                seen.join("\n")
            ))
        })
    }

    /// Waits until an event of whatever object in the namespace has all these words in it.
    pub(crate) fn event_with(&self, words: &[&str]) -> Result<(), Failure> {
        let path = "jsonpath={range .items[*]}{.reason}: {.message}{\"\\n\"}{end}";
        poll("an event", || {
            let seen = self.kubectl(&["get", "events", "-o", path])?;
            let tells = |text: &str| words.iter().all(|word| text.contains(word));
            Ok(seen.lines().any(tells).then_some(()))
        })
        .map_err(|failure| Failure::Text(format!("{failure} with {words:?}")))
    }

    /// Applies something again and again until the API server refuses it, and returns its words: what the refusal
    /// hangs on reaches admission a moment later.
    pub(crate) fn refusal(&self, manifest: &str) -> Result<String, Failure> {
        poll("the API server to refuse it", || {
            match self.cluster.apply(manifest) {
                Err(failure) => Ok(Some(failure.to_string())),
                Ok(()) => {
                    let file = self
                        .cluster
                        .control_plane()
                        .stage("refused.yaml", manifest)?;
                    self.kubectl(&["delete", "-f", &file]).map(|_| None)
                }
            }
        })
    }

    /// Waits until a Deployment has exactly one pod, and returns its name.
    pub(crate) fn only_pod(&self, app: &str) -> Result<String, Failure> {
        let own = format!("app={app}");
        poll("the only pod of a deployment", || {
            let path = "jsonpath={.items[*].metadata.name}";
            let names = self.kubectl(&["get", "pods", "-l", &own, "-o", path])?;
            let mut names = names.split_whitespace();
            Ok(names
                .next()
                .filter(|_| names.next().is_none())
                .map(str::to_owned))
        })
    }

    /// Returns how many bytes of NARs the hub has given out.
    pub(crate) fn served(&self) -> Result<u64, Failure> {
        self.stack.hub.counter("nival_hub_nar_served_bytes_total")
    }

    /// Returns the texts of an object's events, with their reasons.
    pub(crate) fn events(&self, kind: &str, name: &str) -> Result<Vec<String>, Failure> {
        let own = format!("--field-selector=involvedObject.kind={kind},involvedObject.name={name}");
        let events = self.cluster.kubectl_json(&["get", "events", &own])?;
        let items = events["items"].as_array().cloned().unwrap_or_default();
        let text = |event: &Value| {
            let part = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", part("reason"), part("message"))
        };
        Ok(items.iter().map(text).collect())
    }

    /// Publishes another generation of an environment.
    pub(crate) fn push(&self, name: &str, change: &str) -> Result<(), Failure> {
        let script = format!("cd ~/{name} && {change} >&2 && nival push {OWNER}/{name} >&2");
        self.stack.laptop.shell(&script).map(drop)
    }
}

/// Starts hub and laptop, and publishes the environments that the stories use.
fn published() -> Result<Stack, Failure> {
    let stack = Stack::start_for_cluster()?;
    let environments = [
        ("app", "bash coreutils python3"),
        ("tools", "bash coreutils jq"),
        ("query", "jq"),
        ("large", "bash coreutils python3 numpy redis nginx curl"),
    ];
    for (name, packages) in environments {
        stack.publish(name, packages, "--public")?;
    }
    Ok(stack)
}

/// Publishes what the stories of an installation use beside that: the environments of the examples, and odd ones.
fn publish_more(stack: &Stack) -> Result<(), Failure> {
    let examples = [
        (
            "web",
            include_str!("../../../deploy/examples/environments/web.toml"),
        ),
        (
            "redis",
            include_str!("../../../deploy/examples/environments/redis.toml"),
        ),
        (
            "numbers",
            include_str!("../../../deploy/examples/environments/numbers.toml"),
        ),
    ];
    for (name, manifest) in examples {
        stack.publish_manifest(name, manifest, "--public")?;
    }
    let private = include_str!("../../../deploy/examples/environments/secret-sauce.toml");
    stack.publish_manifest("secret-sauce", private, "")?;
    crate::hostile::publish_for_arm(stack, "only-arm")?;
    for name in ["unfetched", "withdrawn"] {
        // Another variable makes another generation of the same programs; another package makes another closure.
        let packages = if name == "unfetched" {
            "bash coreutils curl"
        } else {
            "bash coreutils jq"
        };
        stack.publish(name, packages, "--public")?;
    }
    Ok(())
}

/// A namespace's name has at most 63 characters.
fn namespace(story: &str) -> String {
    story
        .chars()
        .take(50)
        .collect::<String>()
        .trim_end_matches('-')
        .to_owned()
}
