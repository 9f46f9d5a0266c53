//! Parts of a node that die while pods start or run.

use testkit::{Failure, poll};

use crate::hostile::pod;
use crate::{Stage, Story, ensure};

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "without-the-agent-a-pod-waits-and-says-so",
        tell: agent_down,
    },
    Story {
        name: "pods-live-on-while-containerd-is-restarted",
        tell: containerd_restart,
    },
    Story {
        name: "a-killed-shim-costs-its-pod-a-restart-and-no-more",
        tell: shim_killed,
    },
    Story {
        name: "a-full-disk-is-named-and-room-is-enough-to-go-on",
        tell: full_disk,
    },
];

const ENVIRONMENT: &str = "nival.dev/environment: demo/app";

fn agent_down(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.node().kill_agent()?;
    stage.cluster.apply(&pod("waits", ENVIRONMENT))?;
    let told = stage.event(
        "waits",
        &["FailedCreatePodSandBox", "nival-agent is not running"],
    );
    stage.cluster.node().start_agent()?;
    told?;
    stage.ready("waits")
}

fn containerd_restart(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.apply(&pod("lives", ENVIRONMENT))?;
    stage.ready("lives")?;
    let started = "{.status.containerStatuses[0].state.running.startedAt} {.status.containerStatuses[0].restartCount}";
    let before = stage.get("lives", started)?;
    stage.cluster.node().restart_containerd()?;
    poll("exec to work again", || {
        Ok(stage.exec("lives", "python3 --version").ok())
    })?;
    let after = stage.get("lives", started)?;
    ensure(before == after, || {
        format!("the container did not live on: {before}, then {after}")
    })?;
    // New ones start, and the old one can be stopped.
    stage.cluster.apply(&pod("next", ENVIRONMENT))?;
    stage.ready("next")?;
    stage
        .kubectl(&["delete", "pod", "lives", "next", "--timeout=30s"])
        .map(drop)
}

fn shim_killed(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.apply(&pod("struck", ENVIRONMENT))?;
    stage.ready("struck")?;
    let sandbox = stage
        .cluster
        .node()
        .crictl(&["pods", "-q", "--name", "struck"])?;
    let sandbox = sandbox.trim();
    stage.cluster.node().machine().shell(&format!(
        "pkill -KILL -f '[c]ontainerd-shim-nival-v2 .*-id {sandbox}'"
    ))?;
    poll("the pod's container to be started again", || {
        let path =
            "{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}";
        let state = stage.get("struck", path)?;
        Ok((state.starts_with(|first| first != '0') && state.ends_with("true")).then_some(()))
    })?;
    stage.exec("struck", "python3 --version")?;
    stage.kubectl(&["delete", "pod", "struck", "--timeout=60s"])?;
    // The kubelet collects dead sandboxes later; what lived in them has to be gone now.
    let script = format!("pgrep -f '[c]ontainerd-shim-nival-v2 .*-id {sandbox}' || true");
    let shims = stage.cluster.node().machine().shell(&script)?;
    ensure(shims.is_empty(), || format!("shims are left: {shims}"))
}

fn full_disk(stage: &mut Stage) -> Result<(), Failure> {
    let node = stage.cluster.node();
    node.kill_agent()?;
    // The agent's whole folder on a disk that is too small for the closure, and later on one that is not.
    let machine = node.machine();
    machine.shell("mount -t tmpfs -o size=8m tmpfs /var/lib/nival")?;
    node.start_agent()?;
    stage
        .cluster
        .apply(&pod("squeezed", "nival.dev/environment: demo/large"))?;
    let told = stage.event("squeezed", &["FailedCreatePodSandBox", "no space for"]);
    stage
        .cluster
        .node()
        .machine()
        .shell("mount -o remount,size=600m /var/lib/nival")?;
    let ready = told.and_then(|_| stage.ready("squeezed"));
    stage.kubectl(&[
        "delete",
        "pod",
        "squeezed",
        "--ignore-not-found",
        "--timeout=60s",
    ])?;
    let node = stage.cluster.node();
    node.kill_agent()?;
    node.machine().shell("umount -l /var/lib/nival")?;
    node.start_agent()?;
    ready
}
