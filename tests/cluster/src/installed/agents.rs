//! The agents of an installation, as its administrator meets them.

use testkit::cluster::NAMESPACE;
use testkit::{Failure, poll};

use crate::Stage;

/// Returns the agent's pod on a node.
pub(super) fn agent_on(stage: &Stage, node: &str) -> Result<String, Failure> {
    let on_node = format!("--field-selector=spec.nodeName={node}");
    stage.kubectl(&[
        "get",
        "pods",
        "--namespace",
        NAMESPACE,
        "--selector=app.kubernetes.io/component=agent",
        &on_node,
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ])
}

/// Runs a program in the agent's container on a node, and returns what it wrote.
pub(super) fn in_agent(stage: &Stage, node: &str, command: &[&str]) -> Result<String, Failure> {
    let pod = agent_on(stage, node)?;
    let exec = [
        "exec",
        &pod,
        "--namespace",
        NAMESPACE,
        "--container=agent",
        "--",
    ];
    stage.kubectl(&[&exec[..], command].concat())
}

/// Has the agent's pod on a node replaced, and waits until the next one is ready.
pub(super) fn replace_agent(stage: &Stage, node: &str) -> Result<(), Failure> {
    let old = agent_on(stage, node)?;
    stage.kubectl(&["delete", "pod", &old, "--namespace", NAMESPACE])?;
    poll("the next agent to be ready", || {
        let Ok(new) = agent_on(stage, node) else {
            return Ok(None);
        };
        let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        let ready = stage.kubectl(&["get", "pod", &new, "--namespace", NAMESPACE, "-o", ready]);
        Ok((new != old && ready.is_ok_and(|ready| ready == "True")).then_some(()))
    })?;
    stage.cluster.wait_until_installed()
}
