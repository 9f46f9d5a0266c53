//! Plays the kubelet of every pod: writes by the API what a kubelet would say, and takes pods away that are to go.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::stage::Stage;

/// How often it looks at the pods.
const EVERY: Duration = Duration::from_millis(150);
/// And says that its node lives.
const BEAT: Duration = Duration::from_secs(5);
/// The node, where there is one.
const NODE: &str = "played";
/// What it says of a pod that crashed.
const CRASHED: &str = "played: crashed";

/// A thread that plays it until it is dropped.
pub(crate) struct PlayedKubelet {
    world: Arc<World>,
    thread: Option<JoinHandle<()>>,
}

struct World {
    kubectl: Vec<OsString>,
    over: AtomicBool,
    /// Generations with which pods crash, such as `demo/web:2`.
    broken: Mutex<BTreeSet<String>>,
    /// Whether pods that are new stay as they are.
    asleep: AtomicBool,
}

impl PlayedKubelet {
    /// Begins.
    pub(crate) fn start(stage: &Stage) -> Self {
        let command = stage.cluster.kubectl_command().unwrap();
        let mut kubectl = vec![command.get_program().to_owned()];
        kubectl.extend(command.get_args().map(OsString::from));
        let world = Arc::new(World {
            kubectl,
            over: AtomicBool::new(false),
            broken: Mutex::default(),
            asleep: AtomicBool::new(false),
        });
        let shared = Arc::clone(&world);
        let thread = std::thread::spawn(move || shared.play());
        Self {
            world,
            thread: Some(thread),
        }
    }

    /// Makes a node, as a kubelet does when it comes, and waits until pods may go there.
    pub(crate) fn joins(&self, stage: &Stage) {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {"nival.dev/node": "ready"}}});
        stage.cluster.apply(&node.to_string()).unwrap();
        self.world.beat();
        let joined = testkit::poll("the node to be ready", || {
            let node = stage.cluster.kubectl_json(&["get", "node", NODE])?;
            let taints = node["spec"]["taints"].as_array().map_or(0, Vec::len);
            Ok((taints == 0).then_some(()))
        });
        joined.unwrap();
    }

    /// Lets pods of this generation, such as `demo/web:2`, crash from here on. It need not be there yet: once it is, pods
    /// soon are, too.
    pub(crate) fn breaks(&self, generation: &str) {
        self.world.broken().insert(generation.to_owned());
    }

    /// Waits until a pod with this pin of a workload with this name has crashed.
    pub(crate) fn wait_for_crash(stage: &Stage, app: &str, pin: &str) {
        let label = format!("--selector=app={app}");
        let crashed = testkit::poll_within(super::PATIENCE, "a pod to crash", || {
            let listed = stage.cluster.kubectl_json(&["get", "pods", &label])?;
            let crashed = listed["items"].as_array().into_iter().flatten().any(|pod| {
                pod["metadata"]["annotations"]["nival.dev/generation"] == pin
                    && pod["status"]["message"] == CRASHED
            });
            Ok(crashed.then_some(()))
        });
        crashed.unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
    }

    /// Leaves new pods as they are, or looks after them again.
    pub(crate) fn sleeps(&self, asleep: bool) {
        self.world.asleep.store(asleep, Ordering::SeqCst);
    }
}

impl Drop for PlayedKubelet {
    fn drop(&mut self) {
        self.world.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl World {
    fn broken(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn play(&self) {
        let mut beat: Option<Instant> = None;
        while !self.over.load(Ordering::SeqCst) {
            // A control plane that is gone for a while comes back, and until then nobody hears a kubelet.
            let listed = self.kubectl(&["get", "pods", "-A", "-o", "json"]);
            let listed: Value = serde_json::from_slice(&listed).unwrap_or_default();
            for pod in listed["items"].as_array().into_iter().flatten() {
                self.look_after(pod);
            }
            if beat.is_none_or(|beat| beat.elapsed() > BEAT) {
                beat = Some(Instant::now());
                self.beat();
            }
            std::thread::sleep(EVERY);
        }
    }

    /// Says that the node lives, if there is one: without a word for most of a minute it would count as lost.
    fn beat(&self) {
        let now = jiff::Timestamp::now().to_string();
        let ready = json!({"type": "Ready", "status": "True", "reason": "Played", "message": "",
            "lastHeartbeatTime": now, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let patch = json!({"status": {"conditions": [ready]}}).to_string();
        self.kubectl(&["patch", "node", NODE, "--subresource=status", "-p", &patch]);
    }

    fn look_after(&self, pod: &Value) {
        let metadata = &pod["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        let (name, namespace) = (text("name"), text("namespace"));
        if metadata.get("deletionTimestamp").is_some() {
            self.kubectl(&[
                "delete",
                "pod",
                name,
                "-n",
                namespace,
                "--force",
                "--grace-period=0",
            ]);
            return;
        }
        let pin = metadata["annotations"]["nival.dev/generation"].as_str();
        let generation = pin.and_then(|pin| Some(pin.split_once('@')?.0));
        let broken = generation.is_some_and(|generation| self.broken().contains(generation));
        let said = pod["status"]["message"].as_str().unwrap_or_default();
        let (wanted, status) = match broken {
            true => (CRASHED, crashed()),
            false => ("played: up", up()),
        };
        if said == wanted || (said.is_empty() && self.asleep.load(Ordering::SeqCst)) {
            return;
        }
        let mut status = status;
        status["message"] = wanted.into();
        let patch = json!({ "status": status }).to_string();
        self.kubectl(&[
            "patch",
            "pod",
            name,
            "-n",
            namespace,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ]);
    }

    fn kubectl(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new(&self.kubectl[0]);
        command.args(&self.kubectl[1..]).args(arguments);
        command
            .output()
            .map(|output| output.stdout)
            .unwrap_or_default()
    }
}

fn conditions(ready: &str) -> Value {
    let one = |type_: &str, status: &str| json!({"type": type_, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    json!([
        one("PodScheduled", "True"),
        one("Initialized", "True"),
        one("ContainersReady", ready),
        one("Ready", ready)
    ])
}

fn up() -> Value {
    json!({
        "phase": "Running",
        "conditions": conditions("True"),
        "containerStatuses": [{"name": "web", "ready": true, "started": true, "restartCount": 0, "image": "x", "imageID": "x",
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}],
    })
}

fn crashed() -> Value {
    let end = json!({"exitCode": 3, "reason": "Error", "message": "cannot find module left-pad",
        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"});
    json!({
        "phase": "Running",
        "conditions": conditions("False"),
        "containerStatuses": [{"name": "web", "ready": false, "started": false, "restartCount": 4, "image": "x", "imageID": "x",
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
            "lastState": {"terminated": end}}],
    })
}
