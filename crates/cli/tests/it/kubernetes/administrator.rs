//! A person at the laptop, who publishes environments and runs a cluster.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use api::kubernetes::{Environment, NivalNode};
use kube::CustomResourceExt as _;
use serde_json::{Value, json};
use testkit::{Cluster, ClusterOptions, Failure, poll, retry};

use crate::publisher::Publisher;

/// The plugin as this test run built it.
const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-nival");

/// A hub, a laptop and a control plane. The cluster goes before the world that it is in.
pub(crate) struct Administrator {
    pub(crate) cluster: Cluster,
    pub(crate) publisher: Publisher,
    kubeconfig: String,
}

impl Administrator {
    /// Starts all of it. No environment is published yet.
    pub(crate) fn new() -> Self {
        let publisher = Publisher::new();
        let options = ClusterOptions {
            nodes: Vec::new(),
            ..ClusterOptions::default()
        };
        let cluster = Cluster::start(&publisher.stack.world, &options).unwrap();
        let laptop = &publisher.stack.laptop;
        let program = laptop.shared().join("kubectl-nival");
        fs_err::copy(PLUGIN, &program).unwrap();
        fs_err::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let kubeconfig = laptop.stage("kubeconfig", cluster.kubeconfig()).unwrap();
        Self {
            cluster,
            publisher,
            kubeconfig,
        }
    }

    /// Makes Nival's kinds known, as its installation does.
    pub(crate) fn define(&self) {
        for definition in [Environment::crd(), NivalNode::crd()] {
            let text = serde_json::to_string(&definition).unwrap();
            self.cluster.define(&text).unwrap();
        }
    }

    /// Types `kubectl-nival` with these arguments.
    pub(crate) fn types(&self, arguments: &str) -> Result<String, Failure> {
        self.try_shell(&format!("kubectl-nival {arguments}"))
    }

    fn try_shell(&self, script: &str) -> Result<String, Failure> {
        let script = format!("export KUBECONFIG={}; {script}", self.kubeconfig);
        self.publisher.shell(&script)
    }

    /// Runs a script on the laptop, with the cluster's configuration at hand.
    #[track_caller]
    pub(crate) fn shell(&self, script: &str) -> String {
        self.try_shell(script)
            .unwrap_or_else(|error| panic!("`{script}`: {error}"))
    }

    #[track_caller]
    pub(crate) fn well(&self, arguments: &str) -> String {
        self.types(arguments)
            .unwrap_or_else(|error| panic!("kubectl nival {arguments}: {error}"))
    }

    #[track_caller]
    pub(crate) fn json(&self, arguments: &str) -> Value {
        let text = self.well(&format!("{arguments} -o json"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Fails the test unless the command failed with this code and said all of these.
    #[track_caller]
    pub(crate) fn badly(&self, arguments: &str, code: i32, parts: &[&str]) {
        let script = format!("{arguments} || {{ echo \"code $?\" >&2; false; }}");
        let talk = match self.types(&script) {
            Ok(text) => panic!("kubectl nival {arguments} was not refused: {text}"),
            Err(error) => error.to_string(),
        };
        let code = format!("code {code}");
        for part in parts.iter().copied().chain([code.as_str()]) {
            assert!(talk.contains(part), "{part:?} is missing in: {talk}");
        }
    }

    /// Gives `kubectl` something on its standard input.
    #[track_caller]
    pub(crate) fn feed(&self, arguments: &[&str], text: &str) {
        self.fed(arguments, text);
    }

    /// Like [`Administrator::feed`], and returns what `kubectl` printed and said.
    #[track_caller]
    pub(crate) fn fed(&self, arguments: &[&str], text: &str) -> (String, String) {
        self.try_feed(arguments, text)
            .unwrap_or_else(|talk| panic!("kubectl {arguments:?}: {talk}"))
    }

    fn try_feed(&self, arguments: &[&str], text: &str) -> Result<(String, String), String> {
        let mut command = self.cluster.kubectl_command().unwrap();
        command.args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => Ok((String::from_utf8(output.stdout).unwrap(), talk)),
            false => Err(talk),
        }
    }

    /// Fails the test unless `kubectl diff` finds nothing once the controllers have written what they write.
    #[track_caller]
    pub(crate) fn differs_nowhere(&self, more: &[&str], text: &str) {
        let arguments = [&["diff", "-f", "-"], more].concat();
        retry("kubectl diff to find nothing", || {
            self.try_feed(&arguments, text).map_err(Failure::Text)
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    }

    /// Makes an object, or changes it.
    #[track_caller]
    pub(crate) fn apply(&self, object: &Value) {
        self.cluster.apply(&object.to_string()).unwrap();
    }

    /// Makes one of Nival's objects, as the operator would.
    #[track_caller]
    pub(crate) fn make(&self, kind: &str, name: &str, spec: &Value) {
        self.apply(&json!({
            "apiVersion": "nival.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name}, "spec": spec,
        }));
    }

    /// Puts a pod on a node, as the scheduler would.
    #[track_caller]
    pub(crate) fn bind(&self, pod: &str, node: &str) {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let path = format!("/api/v1/namespaces/default/pods/{pod}/binding");
        self.feed(&["create", "--raw", &path, "-f", "-"], &binding.to_string());
    }

    /// Makes a node that nothing runs on.
    #[track_caller]
    pub(crate) fn make_node(&self, name: &str, label: &str) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"nival.dev/node": label, "kubernetes.io/arch": "amd64"}},
        }));
    }

    /// Writes the state of an object, as the operator would.
    #[track_caller]
    pub(crate) fn write_status(&self, kind: &str, name: &str, status: &Value) {
        let patch = json!({ "status": status }).to_string();
        let arguments = [
            "patch",
            kind,
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.cluster.kubectl(&arguments).unwrap();
    }

    #[track_caller]
    pub(crate) fn get(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = ["get"].iter().chain(arguments).copied().collect();
        self.cluster.kubectl_json(&arguments).unwrap()
    }

    /// Waits until a workload has so many revisions.
    #[track_caller]
    pub(crate) fn wait_for_revisions(&self, workload: &str, count: usize) {
        poll("the revisions", || {
            let history = self.json(&format!("rollout history {workload}"));
            let found = history["items"].as_array().map_or(0, Vec::len);
            Ok((found >= count).then_some(()))
        })
        .unwrap();
    }
}

/// Returns a manifest of a Deployment with comments that must survive.
pub(crate) fn deployment(reference: &str) -> String {
    format!(
        "\
# The web server of the shop.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {{app: web}} # immutable
  template:
    metadata:
      labels:
        app: web
      annotations:
        nival.dev/environment: {reference} # what it runs
        # not ours
        team: shop
    spec:
      containers:
        - name: web
          command: [jq, --version]
"
    )
}
