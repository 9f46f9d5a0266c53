//! What the nodes of an installation are, and that pods run on them.

use testkit::Failure;

use super::agents::replace_agent;
use crate::hostile::pod;
use crate::{Stage, Story, ensure, ensure_tells};

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "pods-run-where-the-chart-has-installed-nival",
        tell: run,
    },
    Story {
        name: "nothing-is-restarted-where-nothing-has-changed",
        tell: idle,
    },
];

fn run(stage: &mut Stage) -> Result<(), Failure> {
    for node in ["node1", "node2"] {
        let state = ["get", "nivalnode", node, "-o", "jsonpath={.status.state}"];
        let state = stage.kubectl(&state)?;
        ensure(state == "Ready", || format!("{node} is {state:?}"))?;
        let name = format!("on-{node}");
        let there = format!("spec:\n  nodeName: {node}");
        let manifest = pod(&name, "nival.dev/environment: demo/app");
        stage
            .cluster
            .apply(&manifest.replacen("spec:", &there, 1))?;
    }
    for node in ["node1", "node2"] {
        let name = format!("on-{node}");
        stage.ready(&name)?;
        let version = stage.exec(&name, "python3 --version")?;
        ensure_tells(&version, &["Python 3."])?;
        let overhead = stage.get(&name, "{.spec.overhead.memory}")?;
        ensure(overhead == "8Mi", || {
            format!("the overhead is {overhead:?}")
        })?;
    }
    Ok(())
}

fn idle(stage: &mut Stage) -> Result<(), Failure> {
    let node = stage.cluster.node().machine();
    let containerd = node.processes("containerd");
    replace_agent(stage, "node1")?;
    let after = stage.cluster.node().machine().processes("containerd");
    ensure(containerd == after && containerd.len() == 1, || {
        format!("containerd was {containerd:?} and is {after:?}")
    })
}
