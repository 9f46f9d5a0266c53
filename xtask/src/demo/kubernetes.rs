//! The same story on a cluster: installed by its chart, pushed to, broken, rolled back, looked into and taken off again.

use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testkit::cluster::NAMESPACE;
use testkit::{Cluster, ClusterNode, ClusterOptions, Machine, OWNER, Stack, poll};

use super::story::Story;

/// What the story applies, as every user may.
const WEB_AND_REDIS: &str = include_str!("../../../deploy/examples/web-and-redis.yaml");
const WEB: &str = include_str!("../../../deploy/examples/environments/web.toml");
const REDIS: &str = include_str!("../../../deploy/examples/environments/redis.toml");
/// How `kubectl` is called on the control plane's machine.
const KUBECTL: &str = "export KUBECONFIG=/etc/kubernetes/admin.conf;";

/// Everybody on the stage. The cluster is dropped first: programs end before their network does.
struct Stage {
    cluster: Cluster,
    stack: Stack,
}

/// Tells it.
pub(super) fn tell(story: &mut Story) -> Result<()> {
    let mut stage = Stage::begin(story)?;
    stage.install(story)?;
    stage.deploy(story)?;
    stage.push(story)?;
    stage.break_it(story)?;
    stage.without_hub(story)?;
    stage.look(story)?;
    stage.uninstall(story)
}

impl Stage {
    fn begin(story: &mut Story) -> Result<Self> {
        story.chapter(
            2,
            "A Kubernetes with two nodes, and nothing of Nival on them",
        );
        let begun = Instant::now();
        let stack = Stack::start_for_cluster()?;
        for (name, manifest) in [("web", WEB), ("redis", REDIS)] {
            stack.publish_manifest(name, manifest, "--public")?;
        }
        let options = ClusterOptions {
            nodes: vec![ClusterNode::default(); 2],
            ..ClusterOptions::default()
        };
        let cluster = stack.plain_cluster(options)?;
        story.took(
            "a hub with two environments, and a cluster",
            "cargo xtask cluster up",
            begun.elapsed(),
        );
        Ok(Self { cluster, stack })
    }

    fn kubectl(&self, story: &mut Story, name: &str, arguments: &str) -> Result<String> {
        let script = format!("{KUBECTL} kubectl {arguments}");
        story.on(self.machine(), name, &script)
    }

    fn machine(&self) -> &Machine {
        self.cluster.control_plane()
    }

    fn install(&self, story: &mut Story) -> Result<()> {
        story.chapter(3, "Install: one chart");
        let begun = Instant::now();
        let installation = self.stack.installation(&json!({}))?;
        self.cluster.install(&installation)?;
        story.took(
            "installed",
            "helm install nival deploy/helm/nival",
            begun.elapsed(),
        );
        self.kubectl(story, "nodes", "get nivalnodes").map(drop)
    }

    fn deploy(&self, story: &mut Story) -> Result<()> {
        story.chapter(
            4,
            "Deploy: a web application and Redis, and no image of either",
        );
        let manifest = self.machine().stage("web-and-redis.yaml", WEB_AND_REDIS)?;
        self.kubectl(story, "apply", &format!("apply -f {manifest}"))?;
        for name in ["redis", "web"] {
            let status = format!("rollout status deployment/{name} --timeout=120s");
            self.kubectl(story, "running", &status)?;
        }
        self.kubectl(story, "the pin", &self.pins())?;
        let asked = self.stack.registry.asked();
        let none = format!("{asked} questions went to a registry");
        story.check("no image was pulled", asked == 0, &none)
    }

    fn pins(&self) -> String {
        "get deployments -o custom-columns='NAME:.metadata.name,GENERATION:.spec.template.metadata.annotations.nival\\.dev/generation'".to_owned()
    }

    fn pin(&self) -> Result<String> {
        let web = self.cluster.kubectl_json(&["get", "deployment", "web"])?;
        let annotations = &web["spec"]["template"]["metadata"]["annotations"];
        let pin = annotations["nival.dev/generation"].as_str();
        Ok(pin.context("the template is pinned")?.to_owned())
    }

    /// Waits for an event of the web application and says it.
    fn event(&self, story: &mut Story, reason: &str) -> Result<String> {
        let own = "--field-selector=involvedObject.kind=Deployment,involvedObject.name=web";
        let text = poll("an event of the rollout", || {
            let events = self.cluster.kubectl_json(&["get", "events", own])?;
            let mut items = events["items"].as_array().into_iter().flatten();
            let found = items.find(|event| event["reason"] == reason);
            Ok(found.map(|event| event["message"].as_str().unwrap_or_default().to_owned()))
        })?;
        story.check(reason, true, &format!("{reason}: {text}"))?;
        Ok(text)
    }

    fn push(&self, story: &mut Story) -> Result<()> {
        story.chapter(5, "No rebuild: a push rolls out by itself");
        let before = self.pin()?;
        let begun = Instant::now();
        let script = format!("cd ~/web && nival install jq && nival push {OWNER}/web -m 'with jq'");
        story.on(&self.stack.laptop, "push", &script)?;
        poll("the new generation", || {
            let pin = self
                .pin()
                .map_err(|error| testkit::Failure::Text(error.to_string()))?;
            Ok((pin != before).then_some(()))
        })?;
        self.kubectl(
            story,
            "rolled out",
            "rollout status deployment/web --timeout=120s",
        )?;
        story.took(
            "push to serving on all replicas",
            "nival push",
            begun.elapsed(),
        );
        self.event(story, "RolledOut").map(drop)
    }

    fn break_it(&self, story: &mut Story) -> Result<()> {
        story.chapter(6, "A broken generation goes back by itself");
        self.kubectl(
            story,
            "hasty",
            "annotate --overwrite deployment/web nival.dev/progress-deadline=15s",
        )?;
        let before = self.pin()?;
        let script = format!(
            "cd ~/web && nival uninstall python3 && nival push {OWNER}/web -m 'who needs Python'"
        );
        story.on(&self.stack.laptop, "push", &script)?;
        self.event(story, "RolledBack")?;
        self.kubectl(
            story,
            "back",
            "rollout status deployment/web --timeout=120s",
        )?;
        let after = self.pin()?;
        story.check(
            "the generation before is back",
            before == after,
            &format!("web runs {after}"),
        )
    }

    fn without_hub(&mut self, story: &mut Story) -> Result<()> {
        story.chapter(7, "Rollback needs no hub");
        let before = self.pin()?;
        let kubeconfig = self.cluster.kubeconfig().to_owned();
        self.stack.laptop.write("/root/.kube/config", &kubeconfig)?;
        self.stack.hub.kill()?;
        // The cluster itself remembers which generation that was.
        let back = "nival k8s rollback deployment/web --to 1";
        let undone = story.on(&self.stack.laptop, "back", back).and_then(|_| {
            let status = "rollout status deployment/web --timeout=120s";
            self.kubectl(story, "undone", status)
        });
        self.stack.hub.resume()?;
        undone?;
        let after = self.pin()?;
        let what = format!("with the hub stopped, web went back to {after}");
        story.check("undone without the hub", before != after, &what)
    }

    fn look(&self, story: &mut Story) -> Result<()> {
        story.chapter(8, "What runs, and what is in it");
        let laptop = &self.stack.laptop;
        story.on(laptop, "status", "nival k8s status")?;
        story.on(laptop, "who runs it", "nival k8s who-runs python3")?;
        let pod = "jsonpath={.items[0].metadata.name}";
        let pod = self
            .cluster
            .kubectl(&["get", "pods", "-l", "app=web", "-o", pod])?;
        let sbom = laptop.shell(&format!("nival k8s sbom pod/{pod}"))?;
        let sbom: Value = serde_json::from_str(&sbom)?;
        let components = sbom["components"].as_array().map_or(0, Vec::len);
        story.check(
            "the bill of materials of a running pod",
            components > 0,
            &format!("nival k8s sbom pod/{pod}: {components} components"),
        )
    }

    fn uninstall(&self, story: &mut Story) -> Result<()> {
        story.chapter(9, "And off again");
        self.kubectl(story, "delete", "delete deployment web redis --wait")?;
        let begun = Instant::now();
        self.cluster.helm(&["uninstall", "nival", "--wait"])?;
        story.took(
            "uninstalled",
            &format!("helm uninstall nival -n {NAMESPACE}"),
            begun.elapsed(),
        );
        let left = self
            .cluster
            .kubectl(&["get", "nodes", "-l", "nival.dev/node", "-o", "name"])?;
        story.check(
            "nothing is left on the nodes",
            left.is_empty(),
            "no node has Nival's label any more",
        )
    }
}
