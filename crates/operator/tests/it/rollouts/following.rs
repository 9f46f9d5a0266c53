//! New generations reach every kind of workload that tracks, and states and histories tell of it.

use serde_json::{Value, json};

use super::{
    PlayedKubelet, condition, memory, start, tracked, wait, wait_for_environment, wait_for_event,
};
use crate::stage::{Stage, pinned, web, workload};

fn kinds() -> [(&'static str, Value); 4] {
    [
        ("deployment/web", tracked("Deployment", "web", 2)),
        ("statefulset/set", tracked("StatefulSet", "set", 2)),
        ("daemonset/every", tracked("DaemonSet", "every", 0)),
        ("cronjob/nightly", tracked("CronJob", "nightly", 0)),
    ]
}

#[test]
fn every_kind_follows_a_push_and_a_rollback_of_the_pointer() {
    testkit::require!(root, setup, programs);
    let stage = start();
    let kubelet = PlayedKubelet::start(&stage);
    kubelet.joins(&stage);
    for (_, object) in kinds() {
        stage.apply(&object);
    }
    // One that does not track is left alone.
    stage.apply(&web("Deployment", "still"));
    let (first, second) = (stage.pin(1), || stage.pin(2));
    for (what, _) in kinds() {
        wait(&stage, what, "Complete", &first);
    }
    stage.push();
    let second = second();
    for (what, _) in kinds() {
        let object = wait(&stage, what, "Complete", &second);
        assert_eq!(pinned(&object).1, "demo/web", "{what}");
        let cause = "nival: demo/web:1 → :2";
        assert_eq!(
            object["metadata"]["annotations"]["kubernetes.io/change-cause"], cause,
            "{what}"
        );
        owns_its_fields_and_no_others(&stage, what);
        let name = what.split_once('/').unwrap().1;
        wait_for_event(&stage, name, "RollingOut", |text| {
            text == "rolling out demo/web:1 → :2"
        });
        wait_for_event(&stage, name, "RolledOut", |text| {
            text.contains("all pods run demo/web:2")
        });
    }
    assert_eq!(stage.pinned("deployment/still").0, first);
    let history = stage.kubectl(&["rollout", "history", "deployment/web"]);
    assert!(history.contains("nival: demo/web:1 → :2"), "{history}");
    // Everything of it is on the page of counters.
    assert_eq!(
        stage.metric(0, "nival_operator_rollouts_total{outcome=\"complete\"}"),
        Some(4.0)
    );
    assert_eq!(
        stage.metric(0, "nival_operator_workloads_tracked"),
        Some(4.0)
    );

    let environment = wait_for_environment(&stage, "demo.web", |object| {
        object["status"]["live"]["number"] == 2 && condition(object, "Ready").starts_with("True")
    });
    let status = &environment["status"];
    assert_eq!(
        environment["metadata"]["labels"]["nival.dev/managed-by"],
        "nival-operator"
    );
    assert_eq!(status["workloadCount"], 5);
    assert_eq!(
        status["observedGeneration"],
        environment["metadata"]["generation"]
    );
    assert_eq!(
        condition(&environment, "Resolved"),
        "True Resolved: demo/web:2 is live"
    );
    assert_eq!(status["live"]["generation"], second);
    let table = stage.kubectl(&["get", "nenv"]);
    let row = table
        .lines()
        .nth(1)
        .unwrap()
        .split_whitespace()
        .collect::<Vec<_>>();
    assert_eq!(
        row[..6],
        ["demo.web", "demo/web", "2", "5", "0", "True"],
        "{table}"
    );

    // The hub's pointer goes back: its sequence grows, its number falls.
    stage
        .stack
        .laptop
        .shell("cd ~/web && nival rollback demo/web >&2")
        .unwrap();
    for (what, _) in kinds() {
        let object = wait(&stage, what, "Complete", &first);
        assert_eq!(
            memory(&object)["environments"]["demo/web"]["sequence"],
            3,
            "{what}"
        );
    }
}

/// The operator manages pins, its memory and the line of the history, and leaves everything else to whoever applied it.
fn owns_its_fields_and_no_others(stage: &Stage, what: &str) {
    let question = ["get", what, "--show-managed-fields"];
    let object = stage.cluster.kubectl_json(&question).unwrap();
    let managers = object["metadata"]["managedFields"].as_array().unwrap();
    let own: Vec<_> = managers
        .iter()
        .filter(|one| one["manager"] == "nival-operator")
        .collect();
    assert_eq!(own.len(), 1, "{managers:?}");
    assert_eq!(own[0]["operation"], "Apply");
    let mut leaves = Vec::new();
    names_of_leaves(&own[0]["fieldsV1"], &mut leaves);
    leaves.sort_unstable();
    let expected = [
        "f:kubernetes.io/change-cause",
        "f:nival.dev/generation",
        "f:nival.dev/pinned-from",
        "f:nival.dev/rollout",
        "f:nival.dev/rollout-serial",
    ];
    assert_eq!(leaves, expected);
}

fn names_of_leaves(fields: &Value, names: &mut Vec<String>) {
    for (name, below) in fields.as_object().into_iter().flatten() {
        match below.as_object().is_some_and(|below| below.is_empty()) {
            true => names.push(name.clone()),
            false => names_of_leaves(below, names),
        }
    }
}

#[test]
fn containers_with_environments_of_their_own_move_together_and_namespaces_have_their_states() {
    testkit::require!(root, setup, programs);
    let stage = start();
    let _kubelet = PlayedKubelet::start(&stage);
    stage.stack.publish("side", "jq", "--public").unwrap();
    stage.kubectl(&["create", "namespace", "other"]);
    let annotations = json!({
        "nival.dev/environment": "demo/web",
        "environment.nival.dev/side": "demo/side",
        "environment.nival.dev/fixed": "demo/web:1",
    });
    let mut object = workload("Deployment", "two", &annotations);
    object["metadata"]["annotations"] = json!({"nival.dev/track": "latest"});
    for name in ["side", "fixed"] {
        let container = json!({"name": name, "command": ["jq"]});
        object["spec"]["template"]["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .push(container);
    }
    stage.apply(&object);
    let mut elsewhere = tracked("Deployment", "web", 1);
    elsewhere["metadata"]["namespace"] = "other".into();
    stage.apply(&elsewhere);
    let first = stage.pin(1);
    wait(&stage, "deployment/two", "Complete", &first);
    stage.push();
    let second = stage.pin(2);
    let object = wait(&stage, "deployment/two", "Complete", &second);
    let pins = &object["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(
        pins["generation.nival.dev/fixed"], first,
        "a number is no floating reference"
    );
    let side = pins["generation.nival.dev/side"].as_str().unwrap();
    assert!(side.starts_with("demo/side:1@"), "{side}");
    // Its other environment moves.
    let push = "cd ~/side && nival install bash >&2 && nival push demo/side >&2";
    stage.stack.laptop.shell(push).unwrap();
    let moved = testkit::poll_within(super::PATIENCE, "the other environment to move", || {
        let object = stage.cluster.kubectl_json(&["get", "deployment/two"])?;
        let pins = &object["spec"]["template"]["metadata"]["annotations"];
        let side = pins["generation.nival.dev/side"]
            .as_str()
            .unwrap_or_default();
        Ok(side
            .starts_with("demo/side:2@")
            .then(|| pins["nival.dev/generation"].clone()))
    });
    assert_eq!(
        moved.unwrap_or_else(|error| panic!("{error}\n{}", stage.logs())),
        second.as_str()
    );
    wait(&stage, "deployment/two", "Complete", &second);

    let rows = |object: &Value| object["status"]["workloads"].as_array().map_or(0, Vec::len);
    let own = wait_for_environment(&stage, "demo.web", |object| rows(object) == 2);
    let containers: Vec<_> = own["status"]["workloads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["container"].as_str(),
                row["tracking"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(containers, [(None, true), (Some("fixed"), false)]);
    wait_for_environment(&stage, "demo.side", |object| rows(object) == 1);
    let other = stage
        .cluster
        .kubectl_json(&["get", "nenv", "demo.web", "-n", "other"])
        .unwrap();
    assert_eq!(rows(&other), 1);
    // What nobody uses any more is no longer there; what somebody does, is.
    stage.kubectl(&["delete", "deployment", "two"]);
    gone(&stage, "demo.web");
    gone(&stage, "demo.side");
    stage.kubectl(&["get", "nenv", "demo.web", "-n", "other"]);
}

fn gone(stage: &Stage, name: &str) {
    let gone = testkit::poll("an environment that nobody uses to go", || {
        let there =
            stage
                .cluster
                .kubectl(&["get", "nenv", name, "--ignore-not-found", "-o", "name"])?;
        Ok(there.trim().is_empty().then_some(()))
    });
    gone.unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
}
