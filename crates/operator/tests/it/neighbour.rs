//! `nival-operator node` on the nodes of a real cluster, with no more rights than it says it needs.

use fs_err as fs;
use serde_json::{Value, json};
use testkit::{Cluster, ClusterOptions, Failure, Node, Service, Stack, poll, require};

/// The rights of the chart's account for nodes, for one that is named in the manifest.
const RIGHTS: &str = include_str!("neighbour.yaml");
const NAME: &str = "node1";
const ADDRESS: &str = "127.0.0.1:9471";

/// A cluster of one node with the operator's definitions, and a way to speak to it as the node's neighbour.
struct Scene {
    // Dropped before the world that it is in.
    cluster: Cluster,
    stack: Stack,
}

impl Scene {
    /// Starts one, with nodes that have agent and shim or nodes that have nothing of Nival.
    fn start(plain: bool) -> Result<Self, Failure> {
        let stack = Stack::start_for_cluster()?;
        let options = ClusterOptions {
            plain,
            ..ClusterOptions::default()
        };
        let cluster = stack.cluster(options)?;
        let crds = std::process::Command::new(env!("CARGO_BIN_EXE_nival-operator"))
            .arg("crds")
            .output()?;
        cluster.define(&String::from_utf8_lossy(&crds.stdout))?;
        cluster.apply(RIGHTS)?;
        let scene = Self { cluster, stack };
        // Where it is told that all is in place before anything looked.
        scene
            .cluster
            .kubectl(&["label", "node", NAME, "nival.dev/node-"])?;
        Ok(scene)
    }

    fn node(&self) -> &Node {
        self.cluster.nodes()[0].1
    }

    /// Starts `nival-operator node` on the node, as its account.
    fn neighbour(&self, more: &[&str]) -> Result<Service, Failure> {
        let token =
            self.cluster
                .kubectl(&["create", "token", "nival-node", "-n", "nival-system"])?;
        let admin = self.cluster.kubeconfig();
        let text = admin.replace("token: admin", &format!("token: {}", token.trim()));
        let machine = self.node().machine();
        let kubeconfig = machine.stage("neighbour.conf", &text)?;
        let program = machine.shared().join("nival-operator");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_nival-operator"), &program)?;
        }
        let variable = format!("KUBECONFIG={kubeconfig}");
        let program = program.display().to_string();
        let own = [
            &variable, &program, "node", "--node", NAME, "--listen", ADDRESS,
        ];
        machine.service("neighbour", "env", &[&own, more].concat())
    }

    fn resource(&self) -> Result<Value, Failure> {
        self.cluster.kubectl_json(&["get", "nivalnode", NAME])
    }

    fn label(&self) -> Result<String, Failure> {
        let path = "jsonpath={.metadata.labels.nival\\.dev/node}";
        self.cluster.kubectl(&["get", "node", NAME, "-o", path])
    }

    /// Waits until the node is ready.
    fn wait_until_ready(&self) -> Result<Value, Failure> {
        self.wait_for("to be ready", |status| status["state"] == "Ready")
    }

    /// Waits until the node is not ready for this reason; others may come before it.
    fn wait_for_reason(&self, reason: &str) -> Result<Value, Failure> {
        self.wait_for(reason, |status| {
            status["state"] == "NotReady" && status["reason"] == reason
        })
    }

    fn wait_for(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value, Failure> {
        let looked = poll(&format!("the node: {what}"), || {
            let Ok(resource) = self.resource() else {
                return Ok(None);
            };
            Ok(fits(&resource["status"]).then_some(resource))
        });
        looked.map_err(|error| {
            let (log, resource) = (self.node().log("neighbour"), self.resource());
            Failure::Text(format!(
                "{error}; it said: {log}; the resource: {resource:?}"
            ))
        })
    }
}

impl Scene {
    /// Asks the node to fetch a generation.
    fn ask_for(&self, generations: &[&str]) -> Result<(), Failure> {
        let wishes: Vec<Value> = generations
            .iter()
            .map(|generation| json!({"generation": generation}))
            .collect();
        let patch = json!({"spec": {"prefetch": wishes}}).to_string();
        self.cluster
            .kubectl(&["patch", "nivalnode", NAME, "--type=merge", "-p", &patch])
            .map(drop)
    }

    /// Returns a page of the neighbour's.
    fn page(&self, path: &str) -> Result<String, Failure> {
        let script =
            format!("curl --silent --show-error http://{ADDRESS}{path} -w '\n%{{http_code}}'");
        self.node().machine().shell(&script)
    }
}

#[test]
fn a_node_is_labelled_while_everything_is_in_place() {
    require!(root, setup, programs);
    labelled().unwrap();
}

fn labelled() -> Result<(), Failure> {
    let mut scene = Scene::start(false)?;
    let mut neighbour = scene.neighbour(&["--restart", "none"])?;
    let resource = scene.wait_until_ready()?;
    assert_eq!(scene.label()?, "ready");
    assert_eq!(resource["metadata"]["ownerReferences"][0]["kind"], "Node");
    assert_eq!(resource["status"]["system"], "x86_64-linux");
    assert!(scene.page("/readyz")?.ends_with("200"));

    // What the cluster asks for is fetched, and what cannot be is told.
    let published = scene.stack.publish("tools", "jq", "--public")?;
    let pin = published["pin"].as_str().unwrap_or_default().to_owned();
    let unknown = format!("demo/nothing:1@sha256:{}", "0".repeat(64));
    scene.ask_for(&[&pin, &unknown])?;
    let status = poll("the generation to be there", || {
        let status = scene.resource()?["status"].clone();
        let state = |generation: &str| {
            let all = status["prefetch"].as_array().into_iter().flatten();
            let mut one = all.filter(|one| one["generation"] == generation);
            one.next()
                .map(|one| one["state"].clone())
                .unwrap_or_default()
        };
        let told = state(&pin) == "Done" && state(&unknown) == "Failed";
        Ok(told.then_some(status))
    })?;
    assert_eq!(status["generations"], json!([pin]));
    let metrics = scene.page("/metrics")?;
    assert!(
        metrics.contains("nival_node_prefetches{state=\"done\"} 1"),
        "{metrics}"
    );

    // An agent that is away shows at once; the label stays for a while, and goes then.
    scene.node().kill_agent()?;
    scene.wait_for_reason("AgentAway")?;
    assert_eq!(scene.label()?, "ready");
    assert!(scene.page("/readyz")?.ends_with("503"));
    poll("the label to go", || {
        Ok(scene.label()?.is_empty().then_some(()))
    })?;
    scene.node().start_agent()?;
    scene.wait_until_ready()?;
    poll("the label to be back", || {
        Ok((scene.label()? == "ready").then_some(()))
    })?;

    // containerd loses the handler behind everybody's back.
    let config = "/etc/containerd/config.toml";
    scene.node().machine().shell(&format!(
        "cp {config} {config}.good; sed -i 's/runtimes.nival/runtimes.other/' {config}"
    ))?;
    scene.node().restart_containerd()?;
    scene.wait_for_reason("HandlerMissing")?;
    scene
        .node()
        .machine()
        .shell(&format!("mv {config}.good {config}"))?;
    scene.node().restart_containerd()?;
    scene.wait_until_ready()?;

    // While the API server is away the node goes on; what has changed is told when it is back.
    scene.cluster.kill_api_server()?;
    scene.node().kill_agent()?;
    poll("the neighbour to see it", || {
        Ok(scene.page("/readyz")?.ends_with("503").then_some(()))
    })?;
    poll("an attempt to tell it", || {
        let failed = scene.page("/metrics")?;
        Ok((!failed.contains("failed_writes_total 0\n")).then_some(()))
    })?;
    assert!(scene.page("/healthz")?.ends_with("200"));
    scene.cluster.start_api_server()?;
    scene.wait_for_reason("AgentAway")?;
    scene.node().start_agent()?;
    scene.wait_until_ready()?;
    poll("the label to be there", || {
        Ok((scene.label()? == "ready").then_some(()))
    })?;
    neighbour.check_alive()
}

#[test]
fn nival_is_taken_off_a_node_and_everything_is_as_before() {
    require!(root, setup, programs);
    removed().unwrap();
}

fn removed() -> Result<(), Failure> {
    let scene = Scene::start(true)?;
    let machine = scene.node().machine();
    let files = || {
        machine.shell(
            "find /etc/containerd /opt/nival -type f -exec sha256sum {} + 2>/dev/null | sort; \
             ls /etc/containerd /opt/nival 2>/dev/null || true",
        )
    };
    let before = files()?;
    let program = machine.shared().join("nival-operator");
    fs::copy(env!("CARGO_BIN_EXE_nival-operator"), &program)?;
    let shim = machine.shared().join("shim");
    fs::copy(
        testkit::programs::dir().join("containerd-shim-nival-v2"),
        &shim,
    )?;
    machine.shell(&format!(
        "{} install --shim {}",
        program.display(),
        shim.display()
    ))?;
    assert_ne!(files()?, before);
    let mut neighbour = scene.neighbour(&[])?;
    // There is no agent here.
    scene.wait_for_reason("AgentAway")?;
    assert_eq!(scene.label()?, "");

    let control_plane = scene.cluster.control_plane();
    let operator = control_plane.shared().join("nival-operator");
    fs::copy(env!("CARGO_BIN_EXE_nival-operator"), &operator)?;
    let kubeconfig = control_plane.stage("admin.conf", scene.cluster.kubeconfig())?;
    let uninstall = format!("KUBECONFIG={kubeconfig} {} uninstall", operator.display());
    let said = control_plane.shell(&format!("{uninstall} --wait=100s"))?;
    assert!(said.ends_with("node1: removed\n"), "{said}");
    assert_eq!(files()?, before);
    let images = scene.node().crictl(&["images"])?;
    assert!(!images.contains("placeholder"), "{images}");
    let resources = scene.cluster.kubectl(&["get", "nivalnodes"])?;
    assert!(!resources.contains(NAME), "{resources}");
    neighbour.check_alive()?;

    // One that never answers is what is left.
    drop(neighbour);
    scene.cluster.apply(
        "apiVersion: nival.dev/v1alpha1\nkind: NivalNode\nmetadata: {name: gone}\nspec: {}\n",
    )?;
    let left = control_plane.shell(&format!("{uninstall} --wait=10s"));
    let text = left.expect_err("a node is left").to_string();
    assert!(
        text.contains("gone (its neighbour has not answered)"),
        "{text}"
    );
    Ok(())
}
