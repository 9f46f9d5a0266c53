//! Whether nodes are ready to start pods in environments, and of one version.

use std::collections::BTreeMap;

use api::kubernetes::{NivalNode, NodeState};
use serde_json::Value;
use workload::names::{NODE, NODE_READY};

use super::Check;
use crate::k8s::cluster::Cluster;
use crate::k8s::kinds::Kind;
use crate::k8s::object;

pub(super) async fn all(cluster: &Cluster, namespace: &str) -> Vec<Check> {
    const CHECK: &str = "nodes";
    let states = match cluster.list(Kind::NivalNode, None).await {
        Ok(states) => states,
        Err(error) if error.is_not_found() => return Vec::new(),
        Err(error) => return vec![Check::of_error(CHECK, &error)],
    };
    let machines = match cluster.list(Kind::Node, None).await {
        Ok(machines) => Some(machines),
        Err(error) if error.is_forbidden() => None,
        Err(error) => return vec![Check::of_error(CHECK, &error)],
    };
    let states: Vec<NivalNode> = states
        .into_iter()
        .filter_map(|state| serde_json::from_value(state).ok())
        .collect();
    judged(&states, machines.as_deref(), namespace)
}

fn judged(states: &[NivalNode], machines: Option<&[Value]>, namespace: &str) -> Vec<Check> {
    const CHECK: &str = "nodes";
    let agents =
        format!("kubectl -n {namespace} get pods -l app.kubernetes.io/component=agent -o wide");
    if states.is_empty() {
        let text = "no node has told of itself: nothing of Nival runs on any";
        return vec![Check::fail(CHECK, text, agents)];
    }
    let mut checks: Vec<Check> = states
        .iter()
        .filter_map(|state| node(state, machines, &agents))
        .collect();
    let ready = states
        .iter()
        .filter(|one| state_of(one) == NodeState::Ready);
    let ready = ready.count();
    let total = machines.map_or(states.len(), <[Value]>::len);
    let text = format!("{ready} of {total} are ready");
    checks.insert(
        0,
        match ready {
            0 => Check::fail(CHECK, text, agents),
            _ => Check::ok(CHECK, text),
        },
    );
    checks.push(versions(states));
    checks
}

fn state_of(node: &NivalNode) -> NodeState {
    node.status
        .as_ref()
        .map_or(NodeState::NotReady, |status| status.state)
}

/// Returns what is wrong with a node.
fn node(state: &NivalNode, machines: Option<&[Value]>, agents: &str) -> Option<Check> {
    let name = state.metadata.name.as_deref().unwrap_or_default();
    let check = format!("node {name}");
    let machine = machines
        .unwrap_or_default()
        .iter()
        .find(|one| object::name(one) == name);
    if machines.is_some() && machine.is_none() {
        return Some(Check::warn(
            &check,
            "the cluster has no such node any more",
            format!("kubectl delete nivalnode {name}"),
        ));
    }
    let label =
        machine.and_then(|machine| machine.pointer("/metadata/labels")?.get(NODE)?.as_str());
    let status = state.status.clone().unwrap_or_default();
    match status.state {
        NodeState::NotReady => Some(Check::fail(
            &check,
            match status.reason.is_empty() {
                true => "it has not told how it is".to_owned(),
                false => format!("{}: {}", status.reason, status.message),
            },
            agents,
        )),
        NodeState::Ready if machine.is_some() && label != Some(NODE_READY) => Some(Check::fail(
            &check,
            format!("it is ready but lacks the label {NODE}={NODE_READY}: no pod is sent there"),
            agents,
        )),
        NodeState::Removed => Some(Check::warn(
            &check,
            "Nival was taken off it",
            format!(
                "delete the pod of the DaemonSet nival-agent on {name}: the next one installs it again"
            ),
        )),
        NodeState::Ready => None,
    }
}

fn versions(states: &[NivalNode]) -> Check {
    const CHECK: &str = "agent versions";
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for status in states.iter().filter_map(|one| one.status.as_ref()) {
        *versions.entry(&status.agent_version).or_default() += 1;
    }
    let said = |(version, count): (&&str, &usize)| {
        let version = if version.is_empty() {
            "unknown"
        } else {
            version
        };
        format!("{version} on {count}")
    };
    let text = versions.iter().map(said).collect::<Vec<_>>().join(", ");
    let own = env!("CARGO_PKG_VERSION");
    match versions.len() {
        0 | 1 => Check::ok(CHECK, format!("{text} (this program: {own})")),
        _ => Check::warn(
            CHECK,
            text,
            "an upgrade is under way, or stands still: look at the DaemonSet nival-agent",
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::State;
    use super::*;

    fn state(name: &str, status: &Value) -> NivalNode {
        let object = json!({
            "apiVersion": "nival.dev/v1alpha1", "kind": "NivalNode",
            "metadata": {"name": name}, "spec": {}, "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    fn machine(name: &str, label: Option<&str>) -> Value {
        json!({"metadata": {"name": name, "labels": {NODE: label}}})
    }

    #[test]
    fn each_node_in_trouble_has_its_line() {
        let states = [
            state("a", &json!({"state": "Ready", "agentVersion": "1"})),
            state(
                "b",
                &json!({"state": "NotReady", "reason": "AgentDown", "message": "no socket", "agentVersion": "1"}),
            ),
            state("c", &json!({"state": "Ready", "agentVersion": "2"})),
            state("gone", &json!({"state": "Ready", "agentVersion": "1"})),
        ];
        let machines = [
            machine("a", Some("ready")),
            machine("b", None),
            machine("c", None),
            machine("d", None),
        ];
        let checks = judged(&states, Some(&machines), "nival-system");
        let of = |name: &str| checks.iter().find(|one| one.check == name).unwrap();
        assert_eq!(of("nodes").message, "3 of 4 are ready");
        assert!(checks.iter().all(|one| one.check != "node a"));
        assert_eq!(of("node b").message, "AgentDown: no socket");
        assert_eq!(of("node c").state, State::Fail);
        assert_eq!(of("node gone").state, State::Warn);
        assert_eq!(of("agent versions").state, State::Warn);
        assert_eq!(judged(&[], None, "x")[0].state, State::Fail);
    }
}
