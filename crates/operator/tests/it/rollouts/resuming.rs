//! Operators are killed and hubs are down in the middle, and the next leader goes on. The test plays the node's part.

use serde_json::{Value, json};

use super::{PlayedKubelet, condition, memory, start, tracked, wait, wait_for_environment};
use crate::stage::Stage;

/// Makes the resource of a node that holds these, in its stead.
pub(super) fn node_joins(stage: &Stage, holds: &[&str]) {
    let node = r#"{"apiVersion": "nival.dev/v1alpha1", "kind": "NivalNode", "metadata": {"name": "played"}, "spec": {}}"#;
    stage.cluster.apply(node).unwrap();
    node_says(stage, holds, &json!([]));
}

/// Says in a node's stead that it is ready, what it holds and how its fetches stand.
pub(super) fn node_says(stage: &Stage, holds: &[&str], fetches: &Value) {
    let status = json!({"status": {
        "state": "Ready", "system": "x86_64-linux", "generations": holds, "generationCount": holds.len(), "prefetch": fetches,
    }});
    stage.kubectl(&[
        "patch",
        "nivalnode",
        "played",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status.to_string(),
    ]);
}

/// Waits until a node is asked for exactly these.
pub(super) fn wait_for_wish(stage: &Stage, pins: &[&str]) {
    let wanted: Vec<Value> = pins
        .iter()
        .map(|pin| json!({ "generation": pin }))
        .collect();
    let mut last = Value::Null;
    let waited = testkit::poll_within(super::PATIENCE, "a node to be asked", || {
        let node = stage
            .cluster
            .kubectl_json(&["get", "nivalnode", "played"])?;
        last = node["spec"]["prefetch"].clone();
        let asked = last.as_array().cloned().unwrap_or_default();
        Ok((asked == wanted).then_some(()))
    });
    waited.unwrap_or_else(|error| panic!("{error} for {wanted:?}: {last}\n{}", stage.logs()));
}

#[test]
fn whoever_leads_next_goes_on_wherever_the_last_one_was_killed() {
    testkit::require!(root, setup, programs);
    let mut stage = start();
    let kubelet = PlayedKubelet::start(&stage);
    let first = stage.pin(1);
    node_joins(&stage, &[&first]);
    stage.apply(&tracked("Deployment", "web", 2));
    wait(&stage, "deployment/web", "Complete", &first);
    let environment = wait_for_environment(&stage, "demo.web", |object| {
        object["status"]["nodeCount"] == 1
    });
    assert_eq!(
        environment["status"]["nodes"],
        json!([{"name": "played", "generations": [1]}])
    );

    // Killed while the node fetches: the next one asks it again once the hub has said the same.
    stage.push();
    let second = stage.pin(2);
    wait(&stage, "deployment/web", "Prefetching", &first);
    wait_for_wish(&stage, &[&second]);
    let fetching = |state: &str, message: &str| json!([{"generation": second, "state": state, "message": message}]);
    node_says(&stage, &[&first], &fetching("Failed", "the disk is full"));
    wait_for_environment(&stage, "demo.web", |object| {
        let text = condition(object, "Progressing");
        text.starts_with("True Prefetching") && text.contains("played: the disk is full")
    });
    let serial = memory(&stage.get("deployment/web"))["serial"].clone();
    stage.kill_operator(0, false);
    stage.start_operator(&[]);
    kubelet.sleeps(true);
    node_says(&stage, &[&first, &second], &fetching("Done", ""));
    let object = wait(&stage, "deployment/web", "Progressing", &second);
    assert!(memory(&object)["serial"].as_u64() > serial.as_u64());

    // Killed while pods are replaced; the next one does not start anew, and the hub is away.
    let started = memory(&object)["startedAt"].clone();
    stage.kill_operator(1, false);
    stage.stack.hub.kill().unwrap();
    stage.start_operator(&[]);
    kubelet.sleeps(false);
    let object = wait(&stage, "deployment/web", "Complete", &second);
    assert_eq!(memory(&object)["startedAt"], started);
    wait_for_wish(&stage, &[]);
    wait_for_environment(&stage, "demo.web", |object| {
        condition(object, "Resolved").starts_with("False HubDown")
            && object["status"]["live"]["number"] == 2
    });
    // It comes back, with news.
    stage.stack.hub.resume().unwrap();
    stage.push();
    let third = stage.pin(3);
    wait_for_wish(&stage, &[&third]);
    // A second one takes over at once when the leader goes, and the first's wish stands.
    stage.start_operator(&[]);
    stage.kill_operator(2, false);
    node_says(&stage, &[&third], &json!([]));
    wait(&stage, "deployment/web", "Complete", &third);
    wait_for_wish(&stage, &[]);
}
