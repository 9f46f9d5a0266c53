//! `nival-operator node` on the nodes of a real cluster, with no more rights than it says it needs.

use std::time::Duration;

use fs_err as fs;
use serde_json::Value;
use testkit::{Cluster, ClusterOptions, Failure, Node, Service, Stack, poll, require};

/// The rights of the chart's account for nodes, for one that is named in the manifest.
const RIGHTS: &str = include_str!("neighbour.yaml");
const NAME: &str = "node1";
const ADDRESS: &str = "127.0.0.1:9471";

/// A cluster of one node with the operator's definitions, and a way to speak to it as the node's neighbour.
struct Scene {
    cluster: Cluster,
    stack: Stack,
}

impl Scene {
    fn start(agent: &str) -> Result<Self, Failure> {
        let stack = Stack::start_for_cluster()?;
        let mut options = ClusterOptions::default();
        options.nodes[0].agent = agent.to_owned();
        let cluster = stack.cluster(options)?;
        let crds = std::process::Command::new(env!("CARGO_BIN_EXE_nival-operator"))
            .arg("crds")
            .output()?;
        cluster.apply(&String::from_utf8_lossy(&crds.stdout))?;
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all"])?;
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
    fn neighbour(&self) -> Result<Service, Failure> {
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
        machine.service(
            "neighbour",
            "env",
            &[
                &format!("KUBECONFIG={kubeconfig}"),
                &program.display().to_string(),
                "node",
                "--node",
                NAME,
                "--restart",
                "none",
                "--listen",
                ADDRESS,
            ],
        )
    }

    fn resource(&self) -> Result<Value, Failure> {
        self.cluster.kubectl_json(&["get", "nivalnode", NAME])
    }

    fn label(&self) -> Result<String, Failure> {
        let path = "jsonpath={.metadata.labels.nival\\.dev/node}";
        self.cluster.kubectl(&["get", "node", NAME, "-o", path])
    }

    fn wait_for_state(&self, state: &str) -> Result<Value, Failure> {
        let looked = poll(&format!("the node to be {state}"), || {
            let Ok(resource) = self.resource() else {
                return Ok(None);
            };
            Ok((resource["status"]["state"] == state).then_some(resource))
        });
        looked.map_err(|error| {
            let (log, resource) = (self.node().log("neighbour"), self.resource());
            Failure::Text(format!(
                "{error}; it said: {log}; the resource: {resource:?}"
            ))
        })
    }
}

#[test]
fn a_node_is_labelled_while_everything_is_in_place() {
    require!(root, setup, programs);
    labelled().unwrap();
}

fn labelled() -> Result<(), Failure> {
    let scene = Scene::start("")?;
    let _neighbour = scene.neighbour()?;
    let resource = scene.wait_for_state("Ready")?;
    println!("{resource:#}");
    assert_eq!(scene.label()?, "ready");
    Ok(())
}
