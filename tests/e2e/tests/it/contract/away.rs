//! Parts that refuse or go away: the cause is told, and what runs goes on.

use testkit::{Pod, PodSpec};

use super::{BUSYBOX, PLACEHOLDER, Scene};
use crate::refusals::{assert_tells, refusal};

pub(super) fn a_refusal_is_told_and_leaves_nothing(scene: &Scene<'_>) {
    let spec = scene
        .spec("refused")
        .annotated("nival.dev/environment", "demo/unknown");
    assert_tells(&refusal(scene.node, &spec), &["demo/unknown"]);

    let pod = scene.run(&scene.spec("command"));
    let error = pod.container("main", PLACEHOLDER, &["no-such-program"]);
    assert_tells(&error.unwrap_err().to_string(), &["no-such-program"]);
    let (code, _) = pod.run_to_end("next", PLACEHOLDER, &["true"]).unwrap();
    assert_eq!(code, 0, "the pod takes its next container");
    pod.remove().unwrap();
}

pub(super) fn without_the_agent_nothing_starts_and_with_it_again_all_does(scene: &Scene<'_>) {
    let (running, container) = scene.sleeper("running");
    scene.node.kill_agent().unwrap();
    let spec = scene.spec("agent");
    assert_tells(&refusal(scene.node, &spec), &["nival-agent"]);
    // Whoever runs already needs no agent, not even to look inside or to go.
    running.exec(&container, &["true"]).unwrap();
    running.remove().unwrap();
    scene.node.start_agent().unwrap();
    let pod = scene.run(&spec);
    let (code, _) = pod.run_to_end("main", PLACEHOLDER, &["true"]).unwrap();
    assert_eq!(code, 0);
    pod.remove().unwrap();
}

pub(super) fn pods_outlive_containerd(scene: &Scene<'_>) {
    let pod = scene.run(&scene.spec("restart"));
    let script = "trap 'exit 4' TERM; i=0; while :; do echo line $i; i=$((i + 1)); sleep 0.1; done";
    let talks = pod
        .container("talks", PLACEHOLDER, &["bash", "-c", script])
        .unwrap();
    let ends = Ending::start(scene, &pod, PLACEHOLDER);
    let plain = PodSpec::plain("plain", "runc").below(&scene.parent.path());
    let plain = scene.run(&plain);
    let ends_with_runc = Ending::start(scene, &plain, BUSYBOX);
    let status = pod.status(&talks).unwrap();
    scene.node.kill_containerd().unwrap();
    ends.end(scene);
    ends_with_runc.end(scene);
    scene.node.start_containerd().unwrap();
    let after = pod.status(&talks).unwrap();
    assert_eq!(after["state"], "CONTAINER_RUNNING");
    assert_eq!(
        after["startedAt"], status["startedAt"],
        "it was not started anew"
    );
    // containerd forgets the code of a container that ended while it was away, whatever the shim says.
    assert_eq!(
        pod.wait(&ends.container).unwrap(),
        plain.wait(&ends_with_runc.container).unwrap()
    );
    plain.remove().unwrap();

    let lines = |text: &str| text.lines().count();
    let log = scene.node.crictl(&["logs", &talks]).unwrap();
    testkit::poll("the log to grow", || {
        let now = scene.node.crictl(&["logs", &talks])?;
        Ok((lines(&now) > lines(&log) + 3).then_some(()))
    })
    .unwrap();
    let text = pod.exec(&talks, &["sh", "-c", "echo $NIVAL_ENVIRONMENT"]);
    assert!(text.unwrap().starts_with("demo/app:1@sha256:"));
    let (code, _) = pod.run_to_end("next", PLACEHOLDER, &["true"]).unwrap();
    assert_eq!(code, 0, "the pod takes its next container");
    scene
        .node
        .crictl(&["stop", "--timeout", "30", &talks])
        .unwrap();
    assert_eq!(pod.wait(&talks).unwrap(), 4);
    pod.remove().unwrap();
}

/// A container that ends when it is told so by a signal.
struct Ending {
    container: String,
    process: u64,
}

impl Ending {
    fn start(scene: &Scene<'_>, pod: &Pod<'_>, image: &str) -> Self {
        let script = "trap 'exit 6' TERM; echo ready; while :; do sleep 0.1; done";
        let container = pod.container("ends", image, &["sh", "-c", script]).unwrap();
        testkit::poll("the trap to be set", || {
            let log = scene.node.crictl(&["logs", &container])?;
            Ok(log.contains("ready").then_some(()))
        })
        .unwrap();
        let process = pod.process(&container).unwrap();
        Self { container, process }
    }

    fn end(&self, scene: &Scene<'_>) {
        let gone = format!(
            "kill -TERM {0}; while kill -0 {0} 2>/dev/null; do sleep 0.02; done",
            self.process
        );
        scene.node.machine().shell(&gone).unwrap();
    }
}
