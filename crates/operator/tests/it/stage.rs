//! A control plane with no nodes, a hub and a laptop, and operators beside them as they run in a cluster.

use std::fmt::Write as _;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use fs_err as fs;
use serde_json::{Value, json};
use testkit::cluster::ADDRESS;
use testkit::{Cluster, ClusterOptions, OWNER, Stack, poll};

/// What the chart makes, as everybody gets it.
const MANIFESTS: &str = include_str!("../../../../deploy/manifests/nival.yaml");
/// Where Nival is installed.
const NAMESPACE: &str = "nival-system";

/// Everything but nodes.
pub(crate) struct Stage {
    pub(crate) operators: Vec<Operator>,
    pub(crate) cluster: Cluster,
    pub(crate) stack: Stack,
    folder: tempfile::TempDir,
}

/// A replica of the controller.
pub(crate) struct Operator {
    child: Child,
    number: u16,
    log: std::path::PathBuf,
}

impl Stage {
    /// Starts everything with one replica, and publishes `demo/web` for everybody.
    pub(crate) fn start() -> Self {
        let mut stage = Self::without_operator("");
        stage.start_operator(&[]);
        stage
    }

    /// Starts everything but a replica. `more` goes before the tables of its configuration.
    pub(crate) fn without_operator(more: &str) -> Self {
        let stack = Stack::start_for_cluster().unwrap();
        stack.publish("web", "jq", "--public").unwrap();
        let options = ClusterOptions {
            nodes: Vec::new(),
            ..ClusterOptions::default()
        };
        let cluster = stack.cluster(options).unwrap();
        let folder = tempfile::Builder::new().prefix("nvo").tempdir().unwrap();
        fs::write(folder.path().join("kubeconfig"), cluster.kubeconfig()).unwrap();
        cluster
            .kubectl(&["create", "namespace", NAMESPACE])
            .unwrap();
        cluster.apply(&service()).unwrap();
        cluster.apply(&webhooks()).unwrap();
        let definitions = Command::new(env!("CARGO_BIN_EXE_nival-operator"))
            .arg("crds")
            .output()
            .unwrap();
        cluster
            .define(&String::from_utf8_lossy(&definitions.stdout))
            .unwrap();
        let stage = Self {
            operators: Vec::new(),
            cluster,
            stack,
            folder,
        };
        stage.configure(more);
        stage
    }

    /// Lets operators that are started from here on have the rights that the chart gives them, and no others.
    pub(crate) fn with_the_charts_rights(&self) {
        let means = |part: &&str| {
            let line = |text: &str| part.lines().any(|line| line == text);
            line("  name: nival-webhook-tls")
                || line("  name: nival-controller")
                    && [
                        "ServiceAccount",
                        "ClusterRole",
                        "ClusterRoleBinding",
                        "Role",
                        "RoleBinding",
                    ]
                    .iter()
                    .any(|kind| line(&format!("kind: {kind}")))
        };
        let parts: Vec<&str> = MANIFESTS.split("\n---\n").filter(means).collect();
        assert_eq!(parts.len(), 6, "the manifests changed");
        self.cluster.apply(&parts.join("\n---\n")).unwrap();
        let token = self.kubectl(&["create", "token", "nival-controller", "-n", NAMESPACE]);
        let admin = self.cluster.kubeconfig();
        let text = admin.replace("token: admin", &format!("token: {}", token.trim()));
        fs::write(self.folder.path().join("kubeconfig"), text).unwrap();
    }

    /// Writes the configuration that the operators read.
    pub(crate) fn configure(&self, more: &str) {
        let key = self.stack.public_key().unwrap();
        let text = format!(
            "hub = \"http://{}\"\n[trust]\n{OWNER} = [\"{key}\"]\n{more}",
            testkit::HUB_ADDRESS
        );
        fs::write(self.folder.path().join("agent.toml"), text).unwrap();
    }

    /// Returns the configuration file of the operators.
    pub(crate) fn config_file(&self) -> std::path::PathBuf {
        self.folder.path().join("agent.toml")
    }

    /// Starts a replica and waits until the API server asks it.
    pub(crate) fn start_operator(&mut self, more: &[&str]) {
        let number = u16::try_from(self.operators.len()).unwrap();
        let log = self.folder.path().join(format!("operator{number}.log"));
        let file = fs::File::create(&log).unwrap().into_file();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.stack.world.network().display()))
            .arg(env!("CARGO_BIN_EXE_nival-operator"))
            .args(["controller", "--identity", &format!("replica{number}")])
            .args(["--lease-seconds", "6", "--drain-seconds", "0"])
            .arg(format!("--listen=0.0.0.0:{}", 8443 + number))
            .arg(format!("--metrics=0.0.0.0:{}", 8080 + number))
            .arg("--config")
            .arg(self.folder.path().join("agent.toml"))
            .args(more)
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .env("NIVAL_LOG", "info,operator=debug")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        let operator = Operator {
            child: command.spawn().unwrap(),
            number,
            log,
        };
        self.operators.push(operator);
        self.cluster.apply(&endpoint(number)).unwrap();
        self.wait_for_operator(number);
    }

    fn wait_for_operator(&mut self, number: u16) {
        let world = &self.stack.world;
        let operator = &mut self.operators[usize::from(number)];
        let ready = poll("the operator to be ready", || {
            if operator.child.try_wait()?.is_some() {
                return Err(testkit::Failure::Text(operator.log()));
            }
            let answer = world
                .get(&format!("127.0.0.1:{}", 8080 + number), "/readyz")
                .ok();
            Ok(answer.filter(|(status, _)| *status == 200))
        });
        ready.unwrap_or_else(|error| {
            panic!("{error}\n{}", self.operators[usize::from(number)].log())
        });
        let told = poll("the API server to know whom to trust", || {
            let hooks =
                self.cluster
                    .kubectl_json(&["get", "validatingwebhookconfigurations", "nival"])?;
            let hooks = hooks["webhooks"].as_array().cloned().unwrap_or_default();
            let told = |hook: &Value| hook.pointer("/clientConfig/caBundle").is_some();
            Ok(hooks.iter().all(told).then_some(()))
        });
        told.unwrap_or_else(|error| panic!("{error}\n{}", self.operators[0].log()));
    }

    /// Kills a replica as `kill -9` does. `keep_endpoint` leaves the API server to ask where nobody is.
    pub(crate) fn kill_operator(&mut self, number: usize, keep_endpoint: bool) {
        self.operators[number].kill();
        if !keep_endpoint {
            let name = format!("nival-controller-{number}");
            self.kubectl(&["delete", "endpointslice", &name, "-n", NAMESPACE]);
        }
    }

    /// Publishes a further generation of `demo/web`.
    pub(crate) fn push(&self) {
        let script = "cd ~/web && { nival uninstall bash || nival install bash; } >&2 && nival push demo/web >&2";
        self.stack.laptop.shell(script).unwrap();
    }

    /// Runs `kubectl`, which has to succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let said = self.cluster.kubectl(arguments);
        said.unwrap_or_else(|error| panic!("{error}\n{}", self.logs()))
    }

    /// Runs `kubectl` with a manifest, and returns what came of it.
    pub(crate) fn with_manifest(&self, arguments: &[&str], manifest: &Value) -> Output {
        let name = format!("manifest-{:?}.json", thread::current().id());
        let machine = self.cluster.control_plane();
        let file = machine.stage(&name, &manifest.to_string()).unwrap();
        let mut command = self.cluster.kubectl_command().unwrap();
        command
            .args(arguments)
            .args(["-f", &file])
            .output()
            .unwrap()
    }

    /// Applies a manifest, which has to be taken; returns what `kubectl` said.
    pub(crate) fn apply(&self, manifest: &Value) -> String {
        self.applied(&["apply"], manifest)
    }

    /// Like [`Stage::apply`], in other words.
    pub(crate) fn applied(&self, arguments: &[&str], manifest: &Value) -> String {
        let output = self.with_manifest(arguments, manifest);
        let said = said(&output);
        assert!(output.status.success(), "{said}\n{}", self.logs());
        said
    }

    /// Applies a manifest, which has to be refused; returns why.
    pub(crate) fn refused(&self, manifest: &Value) -> String {
        let output = self.with_manifest(&["apply"], manifest);
        assert!(
            !output.status.success(),
            "{manifest} was taken\n{}",
            self.logs()
        );
        said(&output)
    }

    /// Returns an object.
    pub(crate) fn get(&self, what: &str) -> Value {
        self.cluster.kubectl_json(&["get", what]).unwrap()
    }

    /// Returns the pin of a template, and what it was made from.
    pub(crate) fn pinned(&self, what: &str) -> (String, String) {
        pinned(&self.get(what))
    }

    /// Waits until the controllers know a workload as it is: a revision that they have not seen does not come back by an undo.
    pub(crate) fn wait_until_known(&self, what: &str) {
        let known = poll("the controllers to know a workload", || {
            let object = self.cluster.kubectl_json(&["get", what])?;
            let observed = &object["status"]["observedGeneration"];
            Ok((*observed == object["metadata"]["generation"]).then_some(()))
        });
        known.unwrap_or_else(|error| panic!("{what}: {error}"));
    }

    /// Returns the pin of a published generation of `demo/web`.
    pub(crate) fn pin(&self, number: u64) -> String {
        let listed = self
            .stack
            .laptop
            .shell("nival generations demo/web --json")
            .unwrap();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let all = listed["generations"]
            .as_array()
            .or_else(|| listed.as_array())
            .unwrap();
        let one = all.iter().find(|one| one["number"] == number).unwrap();
        format!("demo/web:{number}@{}", one["digest"].as_str().unwrap())
    }

    /// Returns the logs of all replicas.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        for operator in &self.operators {
            writeln!(text, "replica {}:\n{}", operator.number, operator.log()).unwrap();
        }
        text
    }

    /// Returns the value of a replica's counter.
    pub(crate) fn metric(&self, number: u16, line: &str) -> Option<f64> {
        let address = format!("127.0.0.1:{}", 8080 + number);
        let (_, page) = self.stack.world.get(&address, "/metrics").ok()?;
        let value = page.lines().find_map(|one| one.strip_prefix(line))?;
        value.trim().parse().ok()
    }
}

impl Operator {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as a kubelet does, and waits until it has.
    pub(crate) fn stop(&mut self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }

    fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What `kubectl` said, to whomever.
fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Returns the template of an object.
pub(crate) fn template(object: &Value) -> &Value {
    let paths = ["/spec/jobTemplate/spec/template", "/spec/template"];
    paths
        .iter()
        .find_map(|path| object.pointer(path))
        .unwrap_or(object)
}

/// Returns the pin of an object's template, and what it was made from.
pub(crate) fn pinned(object: &Value) -> (String, String) {
    let annotations = &template(object)["metadata"]["annotations"];
    let text = |name: &str| annotations[name].as_str().unwrap_or("-").to_owned();
    (text("nival.dev/generation"), text("nival.dev/pinned-from"))
}

/// A workload whose template has these annotations, and one container without an image.
pub(crate) fn workload(kind: &str, name: &str, annotations: &Value) -> Value {
    let template = json!({
        "metadata": {"labels": {"app": name}, "annotations": annotations},
        "spec": {"containers": [{"name": "web", "command": ["jq", "--version"]}]},
    });
    let selector = json!({"matchLabels": {"app": name}});
    let never = |mut template: Value| {
        template["spec"]["restartPolicy"] = "Never".into();
        template
    };
    let (version, spec) = match kind {
        "Pod" => {
            let mut pod = template;
            pod["apiVersion"] = "v1".into();
            pod["kind"] = kind.into();
            pod["metadata"]["name"] = name.into();
            return pod;
        }
        "Deployment" | "DaemonSet" | "ReplicaSet" => (
            "apps/v1",
            json!({"selector": selector, "template": template}),
        ),
        "StatefulSet" => (
            "apps/v1",
            json!({"selector": selector, "serviceName": name, "template": template}),
        ),
        "Job" => ("batch/v1", json!({"template": never(template)})),
        "CronJob" => (
            "batch/v1",
            json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": never(template)}}}),
        ),
        other => panic!("no workload is a {other}"),
    };
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// A workload of `demo/web`.
pub(crate) fn web(kind: &str, name: &str) -> Value {
    workload(kind, name, &json!({"nival.dev/environment": "demo/web"}))
}

/// The webhooks of the chart, to the letter.
fn webhooks() -> String {
    let is_webhooks = |one: &&str| one.contains("WebhookConfiguration\n");
    let all: Vec<&str> = MANIFESTS.split("---\n").filter(is_webhooks).collect();
    assert_eq!(all.len(), 2, "one that mutates and one that validates");
    all.join("---\n")
}

/// The Service of the chart, whose pods are the replicas of the test.
fn service() -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: nival-controller, namespace: {NAMESPACE}}}\n\
         spec: {{ports: [{{name: webhooks, port: 443}}]}}\n"
    )
}

fn endpoint(number: u16) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: nival-controller-{number}, namespace: {NAMESPACE}, labels: {{kubernetes.io/service-name: nival-controller}}}}\n\
         addressType: IPv4\nports: [{{name: webhooks, port: {}, protocol: TCP}}]\n\
         endpoints: [{{addresses: [{ADDRESS}], conditions: {{ready: true}}}}]\n",
        8443 + number
    )
}
