//! What a change touches, and what it leaves.

use serde_json::{Value, json};
use workload::template::Kind;

use super::*;
use crate::rollouts::decide::Live;
use crate::rollouts::seen::read;

const NAMESPACE: &str = "shop";

fn pin(number: u64) -> Pin {
    let digest = format!("{number:064x}");
    format!("acme/api:{number}@sha256:{digest}")
        .parse()
        .unwrap()
}

fn environment() -> EnvironmentName {
    "acme/api".parse().unwrap()
}

fn deployment(version: u64, memory: Option<Value>) -> (Key, Workload) {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": NAMESPACE, "uid": "u", "resourceVersion": version.to_string(),
            "annotations": {"nival.dev/track": "latest"}, "labels": {}},
        "spec": {"template": {"metadata": {"annotations": {"nival.dev/environment": "acme/api"}}}},
    });
    if let Some(memory) = memory {
        object["metadata"]["labels"]["nival.dev/rollout-serial"] = "1".into();
        object["metadata"]["annotations"]["nival.dev/rollout"] = memory.to_string().into();
    }
    read(Kind::Deployment, serde_json::from_value(object).unwrap()).unwrap()
}

fn memory(phase: &str, to: u64) -> Option<Value> {
    Some(
        json!({"serial": 1, "phase": phase, "startedAt": "2026-11-25T10:00:00Z",
        "environments": {"acme/api": {"to": pin(to).to_string(), "sequence": 6}}}),
    )
}

fn node(ready: bool, asked: &[u64], holds: &[u64]) -> NivalNode {
    let text = |number: &u64| pin(*number).to_string();
    let asked: Vec<Value> = asked
        .iter()
        .map(|number| json!({"generation": text(number)}))
        .collect();
    let holds: Vec<String> = holds.iter().map(text).collect();
    serde_json::from_value(json!({
        "apiVersion": "nival.dev/v1alpha1", "kind": "NivalNode", "metadata": {"name": "n", "uid": "n"},
        "spec": {"prefetch": asked},
        "status": {"state": if ready { "Ready" } else { "NotReady" }, "generations": holds},
    }))
    .unwrap()
}

fn put(index: &mut Index, version: u64, memory: Option<Value>) -> Vec<Item> {
    let (key, workload) = deployment(version, memory);
    index.put_workload(key, Some(workload))
}

fn wanted(index: &Index) -> BTreeSet<String> {
    index.wanted_of("n").into_values().flatten().collect()
}

fn key() -> Key {
    deployment(1, None).0
}

#[test]
fn a_workload_that_changes_keeps_what_the_hub_said_and_one_that_goes_does_not() {
    let mut index = Index::default();
    put(&mut index, 1, None);
    let live = Live {
        pin: pin(12),
        sequence: 5,
        since: String::new(),
    };
    let answer = Answer {
        live: Some(live),
        ..Answer::default()
    };
    let items = index.put_answer(NAMESPACE, &environment(), Ok(answer.clone()));
    assert_eq!(items.len(), 2, "the workload and the environment");
    let again = index.put_answer(NAMESPACE, &environment(), Ok(answer.clone()));
    assert_eq!(again, [], "the same is no news");
    put(&mut index, 2, memory("Complete", 12));
    assert_eq!(index.answer(NAMESPACE, &environment()), Some(&answer));
    index.put_workload(key(), None);
    assert_eq!(index.answer(NAMESPACE, &environment()), None);
    assert!(!index.is_used(NAMESPACE, &environment()));
    assert_eq!(index.put_answer(NAMESPACE, &environment(), Ok(answer)), []);
}

#[test]
fn what_a_write_answered_is_not_undone_by_what_the_watch_brings_late() {
    let mut index = Index::default();
    put(&mut index, 7, memory("Complete", 12));
    assert_eq!(put(&mut index, 6, None), []);
    assert_eq!(index.workload(&key()).unwrap().resource_version, "7");
    assert_eq!(
        put(&mut index, 7, memory("Complete", 12)),
        [],
        "the same again"
    );
}

#[test]
fn a_new_list_counts_whatever_was_known_before() {
    let mut index = Index::default();
    put(&mut index, 7000, memory("Complete", 12));
    let (key, workload) = deployment(40, memory("Complete", 12));
    let items = index.put_listed_workload(key.clone(), Some(workload.clone()));
    assert!(items.contains(&Item::Workload(key.clone())), "{items:?}");
    assert_eq!(index.workload(&key).unwrap().resource_version, "40");
    assert_eq!(index.put_listed_workload(key, Some(workload)), []);
}

#[test]
fn nodes_are_asked_for_what_is_under_way_whoever_asked_first_and_for_nothing_else() {
    let mut index = Index::default();
    put(&mut index, 1, memory("Progressing", 13));
    // As another leader left it: 13 is still under way, 11 is not.
    index.put_node("n".to_owned(), Some(node(true, &[11, 13], &[])));
    let only = |number: u64| BTreeSet::from([pin(number).to_string()]);
    assert_eq!(wanted(&index), only(13));
    // What is under way is over, without this process ever having wished for anything.
    let items = put(&mut index, 2, memory("Complete", 13));
    assert!(items.contains(&Item::Node("n".to_owned())), "{items:?}");
    assert_eq!(wanted(&index), BTreeSet::new());
    let want = Want {
        pins: vec![pin(14).to_string()],
        nodes: BTreeSet::from(["n".to_owned()]),
    };
    let items = index.put_want(&key(), Some(want.clone()));
    assert_eq!(items, [Item::Node("n".to_owned())]);
    assert_eq!(index.put_want(&key(), Some(want)), []);
    assert_eq!(wanted(&index), only(14));
    let items = index.put_workload(key(), None);
    assert!(items.contains(&Item::Node("n".to_owned())), "{items:?}");
    assert_eq!(wanted(&index), BTreeSet::new());
}

#[test]
fn a_memory_of_what_is_no_longer_tracked_keeps_nodes_fetching_nothing() {
    let mut index = Index::default();
    put(&mut index, 1, memory("Prefetching", 13));
    index.put_node("n".to_owned(), Some(node(true, &[13], &[])));
    assert_eq!(wanted(&index), BTreeSet::from([pin(13).to_string()]));
    let (key, mut workload) = deployment(2, memory("Prefetching", 13));
    workload.tracked = false;
    let items = index.put_workload(key, Some(workload));
    assert!(items.contains(&Item::Node("n".to_owned())), "{items:?}");
    assert_eq!(wanted(&index), BTreeSet::new());
}

#[test]
fn fetches_are_counted_on_nodes_that_can_start_pods() {
    let mut index = Index::default();
    put(&mut index, 1, None);
    assert!(!index.fetching(&key()).asked);
    let want = Want {
        pins: vec![pin(13).to_string()],
        nodes: ["a", "b", "c", "d", "gone"].map(str::to_owned).into(),
    };
    index.put_want(&key(), Some(want));
    let mut failed = node(true, &[], &[]);
    let status = failed.status.as_mut().unwrap();
    status.prefetch = serde_json::from_value(
        json!([{"generation": pin(13).to_string(), "state": "Failed", "message": "no\u{1b}\nroom"}]),
    )
    .unwrap();
    for (name, node) in [
        ("a", node(true, &[], &[13])),
        ("b", node(true, &[], &[12])),
        ("c", failed),
        ("d", node(false, &[], &[])),
    ] {
        index.put_node(name.to_owned(), Some(node));
    }
    let expected = Fetching {
        asked: true,
        done: 1,
        failed: 1,
        pending: 1,
    };
    assert_eq!(index.fetching(&key()), expected);
    assert_eq!(index.why_not(&key()).unwrap(), "c: no room");
    let items = index.put_node("b".to_owned(), Some(node(true, &[], &[12, 13])));
    assert!(items.contains(&Item::Workload(key())), "{items:?}");
    assert_eq!(index.fetching(&key()).done, 2);
}
