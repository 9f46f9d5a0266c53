//! An upgrade of the installation while pods run: they keep what they were started with.

use std::path::PathBuf;

use fs_err as fs;
use serde_json::{Value, json};
use testkit::cluster::{NAMESPACE, digests};
use testkit::{Failure, Machine, poll_within, programs};

use crate::hostile::pod;
use crate::{Stage, Story, ensure};

use super::PATIENCE;

pub(crate) const STORIES: &[Story] = &[Story {
    name: "an-upgrade-of-the-installation-leaves-running-pods-their-shim",
    tell: upgrade,
}];

const ENVIRONMENT: &str = "nival.dev/environment: demo/app";
/// Says of a pod's container whether it is still the same.
const STARTED: &str =
    "{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}";

fn upgrade(stage: &mut Stage) -> Result<(), Failure> {
    let next = programs::images().join(programs::NEXT);
    stage.cluster.import_images(&next)?;
    stage.cluster.apply(&on_node1("old"))?;
    stage.ready("old")?;
    let before = stage.get("old", STARTED)?;
    let containerd = stage.cluster.node().machine().processes("containerd");
    let old_shim = shim_of(stage, "old")?;

    stage
        .cluster
        .upgrade(&stage.stack.installation(&next_values(&next)?)?)?;
    settle(stage)?;
    let running = [
        "get",
        "daemonset/nival-agent",
        "--namespace",
        NAMESPACE,
        "-o",
    ];
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    let image = stage.kubectl(&[&running[..], &[image]].concat())?;
    ensure(image.contains("@sha256:"), || {
        format!("the agent's image is {image}")
    })?;

    let after = stage.get("old", STARTED)?;
    ensure(before == after, || {
        format!("the pod did not live on: {before}, then {after}")
    })?;
    stage.exec("old", "python3 --version")?;
    let still = shim_of(stage, "old")?;
    ensure(still == old_shim, || {
        format!(
            "its shim was {} and is {}",
            old_shim.display(),
            still.display()
        )
    })?;
    let now = stage.cluster.node().machine().processes("containerd");
    ensure(now == containerd, || {
        format!("containerd was {containerd:?} and is {now:?}")
    })?;

    stage.cluster.apply(&on_node1("new"))?;
    stage.ready("new")?;
    stage.exec("new", "python3 --version")?;
    let new_shim = shim_of(stage, "new")?;
    ensure(new_shim != old_shim, || {
        format!("both pods run by {}", new_shim.display())
    })?;

    // The last pod of a version takes it along.
    stage.kubectl(&["delete", "pod", "old", "--timeout=60s"])?;
    let gone = format!("test ! -e {}", old_shim.display());
    let node = stage.cluster.node().machine();
    poll_within(PATIENCE, "the old shim to be removed", || {
        Ok(node.shell(&gone).ok())
    })?;

    stage.kubectl(&["delete", "pod", "new", "--timeout=60s"])?;
    stage.cluster.helm(&["rollback", "nival"])?;
    settle(stage)
}

/// Waits until what is installed is what runs, and the nodes are ready.
pub(super) fn settle(stage: &Stage) -> Result<(), Failure> {
    for workload in ["daemonset/nival-agent", "deployment/nival-controller"] {
        let status = ["rollout", "status", workload, "--timeout=180s"];
        stage
            .kubectl(&[&["--namespace", NAMESPACE], &status[..]].concat())
            .map_err(|failure| {
                Failure::Text(format!("{failure}\n{}", stage.cluster.state_of_release()))
            })?;
    }
    stage.cluster.wait_until_installed()
}

/// Names the next images by their digests, as a careful person does.
fn next_values(folder: &std::path::Path) -> Result<Value, Failure> {
    let digests = digests(folder)?;
    let digest = |part: &str| {
        let found = digests.iter().find(|(name, _)| name.contains(part));
        json!({"digest": found.map(|(_, digest)| digest)})
    };
    let mut values = super::values();
    values["image"] = json!({"agent": digest("nival-agent"), "operator": digest("nival-operator")});
    Ok(values)
}

pub(super) fn on_node1(name: &str) -> String {
    pod(name, ENVIRONMENT).replacen("spec:", "spec:\n  nodeName: node1", 1)
}

/// Returns the program that a pod's shim on the first node was started from.
fn shim_of(stage: &mut Stage, pod: &str) -> Result<PathBuf, Failure> {
    let node = stage.cluster.node();
    let sandbox = node.crictl(&["pods", "-q", "--name", pod])?;
    let machine: &Machine = node.machine();
    for process in machine.processes("containerd-shim-nival-v2") {
        let line = fs::read(format!("/proc/{process}/cmdline"))?;
        if String::from_utf8_lossy(&line).contains(sandbox.trim()) {
            return Ok(fs::read_link(format!("/proc/{process}/exe"))?);
        }
    }
    Err(Failure::Text(format!("pod {pod} has no shim on node1")))
}
