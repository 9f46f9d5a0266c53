//! States of environments, made of what a cluster would send.

use api::kubernetes::{Environment, EnvironmentStatus, NivalNode, Phase};
use env_spec::{EnvironmentName, Pin};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};
use workload::template::Kind;

use super::status::Seen;
use crate::rollouts::decide::Live;
use crate::rollouts::index::{Answer, Index, Item, Trouble};
use crate::rollouts::seen::read;

const NAMESPACE: &str = "shop";

fn environment() -> EnvironmentName {
    "acme/api".parse().unwrap()
}

fn pin(number: u64) -> Pin {
    let digest = format!("{number:064x}");
    format!("acme/api:{number}@sha256:{digest}")
        .parse()
        .unwrap()
}

fn put(index: &mut Index, name: &str, number: u64, memory: Option<Value>, more: &Value) {
    let mut object = json!({
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": name, "resourceVersion": "1", "generation": 1,
            "annotations": {"nival.dev/track": "latest"}, "labels": {}},
        "spec": {"replicas": 2, "template": {"metadata": {"annotations": {
            "nival.dev/environment": "acme/api", "nival.dev/generation": pin(number).to_string(),
            "nival.dev/pinned-from": "acme/api"}}}},
        "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
    });
    if let Some(memory) = memory {
        object["metadata"]["labels"]["nival.dev/rollout-serial"] =
            memory["serial"].to_string().into();
        object["metadata"]["annotations"]["nival.dev/rollout"] = memory.to_string().into();
    }
    for (path, value) in more.as_object().into_iter().flatten() {
        *object.pointer_mut(path).unwrap() = value.clone();
    }
    let (key, workload) = read(Kind::Deployment, serde_json::from_value(object).unwrap()).unwrap();
    index.put_workload(key, Some(workload));
}

fn memory(phase: &str, from: u64, to: u64, more: &Value) -> Value {
    let mut memory = json!({"serial": 3, "phase": phase, "startedAt": "2026-11-25T10:00:00Z",
        "environments": {"acme/api": {"from": pin(from).to_string(), "to": pin(to).to_string(), "sequence": 6}}});
    memory
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    memory
}

fn answer(index: &mut Index, number: u64) {
    let live = Live {
        pin: pin(number),
        sequence: 6,
        since: "2026-11-25T09:00:00Z".to_owned(),
    };
    let answer = Answer {
        live: Some(live),
        ..Answer::default()
    };
    index.put_answer(NAMESPACE, &environment(), Ok(answer));
}

/// Puts the resource into the index, with this state, and returns the next one.
fn next(
    index: &mut Index,
    suspend: bool,
    status: &EnvironmentStatus,
    now: &str,
) -> EnvironmentStatus {
    let object = json!({
        "apiVersion": "nival.dev/v1alpha1", "kind": "Environment",
        "metadata": {"name": "acme.api", "namespace": NAMESPACE, "uid": "e", "generation": 2,
            "labels": {"nival.dev/managed-by": "nival-operator"}},
        "spec": {"environment": "acme/api", "suspend": suspend}, "status": status,
    });
    let object: Environment = serde_json::from_value(object).unwrap();
    index.put_resource(NAMESPACE.to_owned(), "acme.api".to_owned(), Some(object));
    let (_, resource) = index.resources(NAMESPACE, &environment()).remove(0);
    assert!(resource.managed);
    Seen {
        index,
        namespace: NAMESPACE,
        environment: &environment(),
        resource: &resource,
        now: now.parse::<Timestamp>().unwrap(),
    }
    .status()
}

fn said(status: &EnvironmentStatus, type_: &str) -> (String, String, String) {
    let condition: &Condition = status
        .conditions
        .iter()
        .find(|one| one.type_ == type_)
        .unwrap();
    assert_eq!(condition.observed_generation, Some(2));
    (
        condition.status.clone(),
        condition.reason.clone(),
        condition.message.clone(),
    )
}

fn words(status: &str, reason: &str, message: &str) -> (String, String, String) {
    (status.to_owned(), reason.to_owned(), message.to_owned())
}

#[test]
fn a_state_names_what_is_live_who_runs_it_and_where_it_is() {
    let mut index = Index::default();
    put(&mut index, "web", 13, None, &json!({}));
    put(
        &mut index,
        "old",
        12,
        None,
        &json!({"/metadata/annotations": {}, "/status/availableReplicas": 1}),
    );
    answer(&mut index, 13);
    let node: NivalNode = serde_json::from_value(json!({
        "apiVersion": "nival.dev/v1alpha1", "kind": "NivalNode", "metadata": {"name": "n1", "uid": "n"}, "spec": {},
        "status": {"state": "Ready", "generations": [pin(13).to_string(), pin(11).to_string(), pin(12).to_string()]},
    }))
    .unwrap();
    let items = index.put_node("n1".to_owned(), Some(node));
    assert!(items.contains(&Item::Environment(NAMESPACE.to_owned(), environment())));
    let status = next(
        &mut index,
        false,
        &EnvironmentStatus::default(),
        "2026-11-25T10:00:00.7Z",
    );
    assert_eq!(status.observed_generation, Some(2));
    assert_eq!(
        status
            .live
            .as_ref()
            .map(|live| (live.number, live.sequence)),
        Some((13, 6))
    );
    assert_eq!((status.workload_count, status.node_count), (2, 1));
    assert_eq!(
        status.nodes[0].generations,
        [12, 13],
        "those that run, in order"
    );
    let rows: Vec<_> = status
        .workloads
        .iter()
        .map(|row| (row.name.as_str(), row.tracking, row.ready, row.phase))
        .collect();
    assert_eq!(
        rows,
        [
            ("old", false, 1, Phase::Stable),
            ("web", true, 2, Phase::Stable)
        ]
    );
    assert_eq!(
        said(&status, "Resolved"),
        words("True", "Resolved", "acme/api:13 is live")
    );
    assert_eq!(
        said(&status, "Ready"),
        words("False", "NotReady", "Deployment/old: 1 of 2 pods are ready")
    );
    assert_eq!(said(&status, "Progressing").1, "UpToDate");
    // Nothing has changed but the time: nothing is written.
    let again = next(&mut index, false, &status, "2026-11-25T11:00:00Z");
    assert_eq!(again, status);
}

#[test]
fn a_rollout_a_failure_and_a_pause_are_told() {
    let mut index = Index::default();
    let progressing = memory("Progressing", 12, 13, &json!({}));
    put(
        &mut index,
        "web",
        13,
        Some(progressing),
        &json!({"/status/availableReplicas": 1}),
    );
    answer(&mut index, 13);
    let status = next(
        &mut index,
        false,
        &EnvironmentStatus::default(),
        "2026-11-25T10:00:00Z",
    );
    assert_eq!(
        said(&status, "Progressing"),
        words("True", "RollingOut", "Deployment/web: acme/api:12 → :13")
    );
    let failed = json!({"failed": true, "endedAt": "2026-11-25T10:10:00.123456Z", "reason": "pod web-1: it crashed"});
    put(
        &mut index,
        "web",
        12,
        Some(memory("RolledBack", 12, 13, &failed)),
        &json!({"/metadata/resourceVersion": "2"}),
    );
    let status = next(&mut index, false, &status, "2026-11-25T10:10:01Z");
    assert_eq!(
        said(&status, "Progressing"),
        words(
            "False",
            "RolledBack",
            "Deployment/web: pod web-1: it crashed"
        )
    );
    let failure = status.last_failure.clone().unwrap();
    assert_eq!(
        (
            failure.workload.as_str(),
            failure.generation,
            failure.reason.as_str(),
            failure.time.as_str()
        ),
        (
            "Deployment/web",
            pin(13).to_string(),
            "RolledBack",
            "2026-11-25T10:10:00Z"
        )
    );
    assert_eq!(status.workloads[0].phase, Phase::RolledBack);
    // It is still told of when the next one went well, and a suspended one is held whatever it was.
    put(
        &mut index,
        "web",
        14,
        Some(memory("Complete", 12, 14, &json!({}))),
        &json!({"/metadata/resourceVersion": "3"}),
    );
    let status = next(&mut index, true, &status, "2026-11-25T10:20:00Z");
    assert_eq!(status.last_failure.as_ref(), Some(&failure_again(&status)));
    assert_eq!(said(&status, "Progressing").1, "Suspended");
    assert_eq!(status.workloads[0].phase, Phase::Held);
    // A person's own wish is no failure.
    let by_hand = json!({"endedAt": "2026-11-25T12:00:00Z", "reason": "the template was set to acme/api:12 by hand"});
    put(
        &mut index,
        "web",
        12,
        Some(memory("Held", 12, 14, &by_hand)),
        &json!({"/metadata/resourceVersion": "4"}),
    );
    let later = next(&mut index, false, &status, "2026-11-25T12:00:01Z");
    assert_eq!(later.last_failure, status.last_failure);
    assert_eq!(said(&later, "Progressing").1, "Held");
}

#[test]
fn a_failure_is_told_though_the_next_rollout_began_before_anybody_looked() {
    let mut index = Index::default();
    let before = json!({"failedBefore": {"phase": "RolledBack", "generations": [pin(13).to_string()],
        "at": "2026-11-25T10:10:00.5Z", "reason": "it crashed"}});
    let memory = memory("Prefetching", 12, 14, &before);
    put(&mut index, "web", 12, Some(memory), &json!({}));
    answer(&mut index, 14);
    let none = EnvironmentStatus::default();
    let status = next(&mut index, false, &none, "2026-11-25T10:10:01Z");
    let failure = status.last_failure.unwrap();
    assert_eq!(failure.generation, pin(13).to_string());
    assert_eq!(failure.message, "it crashed");
    assert_eq!(failure.time, "2026-11-25T10:10:00Z");
}

fn failure_again(status: &EnvironmentStatus) -> api::kubernetes::Failure {
    let failure = status.last_failure.clone().unwrap();
    assert_eq!(failure.time, "2026-11-25T10:10:00Z");
    failure
}

#[test]
fn a_hub_that_is_down_changes_one_condition_and_keeps_what_was_known() {
    let mut index = Index::default();
    put(&mut index, "web", 13, None, &json!({}));
    let status = next(
        &mut index,
        false,
        &EnvironmentStatus::default(),
        "2026-11-25T10:00:00Z",
    );
    assert_eq!(said(&status, "Resolved").0, "Unknown");
    answer(&mut index, 13);
    let status = next(&mut index, false, &status, "2026-11-25T10:00:01Z");
    let trouble = |reason, message: &str, lasting| Trouble {
        reason,
        message: message.to_owned(),
        lasting,
    };
    let down = trouble("HubDown", "cannot reach the hub", false);
    index.put_answer(NAMESPACE, &environment(), Err(down.clone()));
    let later = next(&mut index, false, &status, "2026-11-25T10:05:00Z");
    assert_eq!(
        said(&later, "Resolved"),
        words("False", "HubDown", "cannot reach the hub")
    );
    assert_eq!(later.live, status.live);
    let ready = |status: &EnvironmentStatus| status.conditions[1].clone();
    assert_eq!(
        ready(&later),
        ready(&status),
        "times of other conditions stay"
    );
    assert_eq!(
        later.conditions[0].last_transition_time.0.to_string(),
        "2026-11-25T10:05:00Z"
    );
    // A new leader knows nothing yet, and says nothing else; nor when it hears the same.
    let mut fresh = Index::default();
    put(&mut fresh, "web", 13, None, &json!({}));
    assert_eq!(
        next(&mut fresh, false, &later, "2026-11-25T11:00:00Z"),
        later
    );
    fresh.put_answer(NAMESPACE, &environment(), Err(down));
    assert_eq!(
        next(&mut fresh, false, &later, "2026-11-25T11:00:00Z"),
        later
    );
    // What a namespace may not see any more, it is not told.
    let denied = trouble("NotAllowed", "not visible", true);
    fresh.put_answer(NAMESPACE, &environment(), Err(denied));
    let status = next(&mut fresh, false, &later, "2026-11-25T12:00:00Z");
    assert_eq!(status.live, None);
    assert_eq!(said(&status, "Resolved").1, "NotAllowed");
}

#[test]
fn what_nobody_uses_is_said_to_be_unused() {
    let mut index = Index::default();
    let status = next(
        &mut index,
        false,
        &EnvironmentStatus::default(),
        "2026-11-25T10:00:00Z",
    );
    assert_eq!(said(&status, "Ready").1, "Unused");
    assert_eq!(said(&status, "Progressing").1, "NotTracked");
    assert!(!index.is_used(NAMESPACE, &environment()));
}
