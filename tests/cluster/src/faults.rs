//! Parts of a node that die while pods start or run.

use serde_json::Value;
use testkit::{Failure, poll, retry};

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
    let applied = stage.cluster.apply(&pod("waits", ENVIRONMENT));
    let words = ["FailedCreatePodSandBox", "nival-agent is not running"];
    let told = applied.and_then(|()| stage.event("waits", &words));
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
    retry("exec to work again", || {
        stage.exec("lives", "python3 --version")
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
    let node = stage.cluster.node();
    let sandbox = node.crictl(&["pods", "-q", "--name", "struck"])?;
    let sandbox = sandbox.trim().to_owned();
    let container = node.crictl(&["ps", "-q", "--pod", &sandbox])?;
    let inspected = node.crictl(&["inspect", container.trim()])?;
    let inspected: Value = serde_json::from_str(&inspected).map_err(std::io::Error::from)?;
    let process = inspected["info"]["pid"].to_string();
    node.machine().shell(&format!(
        "test -d /proc/{process} && pkill -KILL -f '[c]ontainerd-shim-nival-v2 .*-id {sandbox}'"
    ))?;
    poll("the pod's container to be started again", || {
        let path =
            "{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}";
        let state = stage.get("struck", path)?;
        Ok((state.starts_with(|first| first != '0') && state.ends_with("true")).then_some(()))
    })?;
    stage.exec("struck", "python3 --version")?;
    // What ran under the killed shim must not go on beside what took its place.
    let node = stage.cluster.node();
    poll("what the killed shim ran to be gone", || {
        Ok(node
            .machine()
            .shell(&format!("test ! -d /proc/{process}"))
            .ok())
    })?;
    stage
        .kubectl(&["delete", "pod", "struck", "--timeout=60s"])
        .map(drop)
}

fn full_disk(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.node().kill_agent()?;
    let told = squeeze(stage);
    // Whatever came of it, the stories after this one have a whole node.
    let node = stage.cluster.node();
    node.kill_agent()?;
    node.machine()
        .shell("! mountpoint -q /var/lib/nival || umount -l /var/lib/nival")?;
    node.start_agent()?;
    told
}

/// Puts the agent's whole folder on a disk that is too small for the closure, and later on one that is not.
fn squeeze(stage: &mut Stage) -> Result<(), Failure> {
    let node = stage.cluster.node();
    node.machine()
        .shell("mount -t tmpfs -o size=8m tmpfs /var/lib/nival")?;
    node.start_agent()?;
    stage
        .cluster
        .apply(&pod("squeezed", "nival.dev/environment: demo/large"))?;
    stage.event("squeezed", &["FailedCreatePodSandBox", "no space for"])?;
    stage
        .cluster
        .node()
        .machine()
        .shell("mount -o remount,size=600m /var/lib/nival")?;
    stage.ready("squeezed")?;
    stage
        .kubectl(&["delete", "pod", "squeezed", "--timeout=60s"])
        .map(drop)
}
