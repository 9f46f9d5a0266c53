//! What nodes are asked to fetch before pods need it.

use std::collections::{BTreeMap, BTreeSet};

use api::kubernetes::{NivalNode, VERSION};
use env_spec::{Pin, System};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use workload::names::{GROUP, OPERATOR};

use super::State;
use super::index::Want;
use super::pods::look_through;
use super::seen::{Key, Workload};

/// How many generations one node is asked for at a time; the others come after.
const MOST_AT_ONCE: usize = 64;

/// Returns which nodes should have these generations: those that run the workload's pods now, else, where pods will
/// come at all, every one that may run them.
pub(super) async fn choose(
    state: &State,
    key: &Key,
    workload: &Workload,
    pins: &[Pin],
    systems: &[System],
) -> Result<Want, kube::Error> {
    let present = match &workload.selector {
        Some(selector) => nodes_of(state, &key.namespace, selector).await?,
        None => BTreeSet::new(),
    };
    let nothing_runs = workload.progress.runs && workload.progress.desired == 0;
    let nodes = state.with(|index| {
        let ready = index.nodes().iter().filter(|(_, node)| {
            // One that says no system is asked: it knows better what it can have.
            let system = node.system.as_ref();
            let has_it = systems.is_empty() || system.is_none_or(|one| systems.contains(one));
            let wanted = workload.systems.as_ref();
            let may = system.is_none_or(|one| wanted.is_none_or(|wanted| wanted.contains(one)));
            node.ready && has_it && may
        });
        let ready: BTreeSet<String> = ready.map(|(name, _)| name.clone()).collect();
        match present.is_empty() {
            true if nothing_runs => BTreeSet::new(),
            true => ready,
            false => ready.intersection(&present).cloned().collect(),
        }
    });
    Ok(Want {
        pins: pins.iter().map(Pin::to_string).collect(),
        nodes,
    })
}

async fn nodes_of(
    state: &State,
    namespace: &str,
    selector: &str,
) -> Result<BTreeSet<String>, kube::Error> {
    let pods: Api<Pod> = Api::namespaced(state.client.clone(), namespace);
    let mut nodes = BTreeSet::new();
    look_through(&pods, selector, |pod| {
        nodes.extend(pod.spec.and_then(|spec| spec.node_name));
        None::<()>
    })
    .await?;
    Ok(nodes)
}

/// Returns as many of them as may be, one of each namespace in turn: who wants much does not keep others waiting.
fn fairly(wanted: BTreeMap<&str, BTreeSet<String>>, most: usize) -> BTreeSet<String> {
    let mut turns: Vec<_> = wanted.into_values().map(BTreeSet::into_iter).collect();
    let mut chosen = BTreeSet::new();
    while !turns.is_empty() {
        turns.retain_mut(|turn| {
            let next = turn.next().filter(|_| chosen.len() < most);
            next.map(|pin| chosen.insert(pin)).is_some()
        });
    }
    chosen
}

/// Asks a node for what is wanted of it, and no longer for what is not.
pub(super) async fn ask(state: &State, name: &str) -> Result<(), kube::Error> {
    let found = state.with(|index| {
        let node = index.nodes().get(name)?;
        let wanted = fairly(index.wanted_of(name), MOST_AT_ONCE);
        let asked: BTreeSet<String> = node.asked.iter().cloned().collect();
        (wanted != asked).then(|| (node.uid.clone(), wanted))
    });
    let Some((uid, wanted)) = found else {
        return Ok(());
    };
    let wanted: Vec<_> = wanted
        .iter()
        .map(|pin| json!({ "generation": pin }))
        .collect();
    let object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "NivalNode",
        // One of that name that is gone must not be made by this.
        "metadata": { "name": name, "uid": uid },
        "spec": { "prefetch": wanted },
    });
    let nodes: Api<NivalNode> = Api::all(state.client.clone());
    let how = PatchParams::apply(OPERATOR).force();
    let node = match nodes.patch(name, &how, &Patch::Apply(object)).await {
        Ok(node) => Some(node),
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        Err(error) => return Err(error),
    };
    state.take(
        |index| {
            index
                .nodes()
                .get(name)
                .is_some_and(|known| known.uid == uid)
        },
        |index| index.put_node(name.to_owned(), node),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_wants_much_leaves_room_for_others() {
        let many = |name: &str, count: usize| -> BTreeSet<String> {
            (0..count).map(|one| format!("{name}/{one:03}")).collect()
        };
        let wanted = || {
            BTreeMap::from([
                ("a", many("a", 99)),
                ("b", many("b", 2)),
                ("c", many("c", 1)),
            ])
        };
        let chosen = fairly(wanted(), 6);
        let expected = ["a/000", "a/001", "a/002", "b/000", "b/001", "c/000"];
        assert_eq!(chosen.into_iter().collect::<Vec<_>>(), expected);
        assert_eq!(fairly(wanted(), 200).len(), 102);
        assert_eq!(fairly(wanted(), 2).len(), 2);
        let shared = BTreeMap::from([("a", many("x", 3)), ("b", many("x", 3))]);
        assert_eq!(
            fairly(shared, 3),
            many("x", 3),
            "what several want counts once"
        );
    }
}
