//! Generations whose pods do not come up go back by themselves, and say why.

use serde_json::Value;

use super::{
    PlayedKubelet, annotate, condition, memory, start, tracked, wait, wait_for_environment,
    wait_for_event,
};
use crate::stage::{Stage, template};

/// Long enough for a busy machine to make some progress, short enough to wait for.
const DEADLINE: &str = "nival.dev/progress-deadline=15s";
const WHY: &str =
    "container web exited with code 3: cannot find module left-pad (no progress for 15s)";

#[test]
fn a_broken_generation_of_a_deployment_goes_back_to_the_letter_and_stays() {
    testkit::require!(root, setup, programs);
    let mut stage = start();
    let kubelet = PlayedKubelet::start(&stage);
    stage.apply(&tracked("Deployment", "web", 3));
    let first = stage.pin(1);
    let before = wait(&stage, "deployment/web", "Complete", &first);
    kubelet.breaks("demo/web:2");
    stage.push();
    let second = stage.pin(2);
    wait(&stage, "deployment/web", "Progressing", &second);
    // From here on the reason is known, however long the outage lasts, and nobody has to wait longer.
    PlayedKubelet::wait_for_crash(&stage, "web", &second);
    annotate(&stage, "deployment/web", DEADLINE);
    // The API server is away in the middle, and nothing is forgotten.
    stage.cluster.kill_api_server().unwrap();
    stage.cluster.start_api_server().unwrap();
    let after = wait(&stage, "deployment/web", "RolledBack", &first);
    assert_eq!(
        template(&after),
        template(&before),
        "the same template, so the same ReplicaSet"
    );
    let reason = memory(&after)["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.starts_with("pod web-") && reason.ends_with(WHY),
        "{reason}"
    );
    let cause = "nival: demo/web:2 → :1 (rolled back)";
    assert_eq!(
        after["metadata"]["annotations"]["kubernetes.io/change-cause"],
        cause
    );
    let event = wait_for_event(&stage, "web", "RolledBack", |_| true);
    assert!(
        event.starts_with("rolled back demo/web:1 → :2: pod web-"),
        "{event}"
    );
    assert!(event.contains(WHY), "{event}");
    let environment = wait_for_environment(&stage, "demo.web", |object| {
        condition(object, "Progressing").starts_with("False RolledBack: Deployment/web: pod web-")
    });
    let failure = &environment["status"]["lastFailure"];
    assert_eq!(failure["workload"], "Deployment/web");
    assert_eq!(failure["generation"], second.as_str());
    assert!(
        failure["message"].as_str().unwrap().contains("left-pad"),
        "{failure}"
    );
    settled(&stage, "deployment/web");
    let sets = stage
        .cluster
        .kubectl_json(&["get", "replicasets", "-l", "app=web"])
        .unwrap();
    assert_eq!(sets["items"].as_array().unwrap().len(), 2);
    // What failed is not tried again; the next one is, with time enough to come up.
    assert_eq!(memory(&stage.get("deployment/web"))["phase"], "RolledBack");
    annotate(&stage, "deployment/web", "nival.dev/progress-deadline=10m");
    stage.push();
    let object = wait(&stage, "deployment/web", "Complete", &stage.pin(3));
    assert_eq!(
        memory(&object)["environments"]["demo/web"]["from"],
        first.as_str()
    );
    let environment = wait_for_environment(&stage, "demo.web", |object| {
        condition(object, "Progressing").starts_with("False UpToDate")
    });
    assert_eq!(
        environment["status"]["lastFailure"], *failure,
        "it is still told of"
    );
    assert_eq!(
        stage.metric(0, "nival_operator_rollouts_total{outcome=\"rolled-back\"}"),
        Some(1.0)
    );
}

#[test]
fn ordered_sets_and_daemon_sets_go_back_and_nothing_is_stuck() {
    testkit::require!(root, setup, programs);
    let stage = start();
    let kubelet = PlayedKubelet::start(&stage);
    kubelet.joins(&stage);
    stage.apply(&tracked("StatefulSet", "set", 3));
    stage.apply(&tracked("DaemonSet", "every", 0));
    let (first, all) = (stage.pin(1), ["statefulset/set", "daemonset/every"]);
    settled(&stage, "daemonset/every");
    let before = all.map(|what| template(&wait(&stage, what, "Complete", &first)).clone());
    kubelet.breaks("demo/web:2");
    stage.push();
    let second = stage.pin(2);
    // The deadline is short only once it has a reason to pass.
    for (what, app) in all.into_iter().zip(["set", "every"]) {
        PlayedKubelet::wait_for_crash(&stage, app, &second);
        annotate(&stage, what, DEADLINE);
    }
    for (what, before) in all.into_iter().zip(before) {
        let object = wait(&stage, what, "RolledBack", &first);
        assert_eq!(*template(&object), before, "{what}");
        let reason = memory(&object)["reason"].as_str().unwrap().to_owned();
        assert!(reason.ends_with(WHY), "{what}: {reason}");
        settled(&stage, what);
    }
    let event = wait_for_event(&stage, "set", "PodDeleted", |_| true);
    assert!(event.contains("set-2"), "{event}");
    // A broken one, and its fix before the deadline: the broken pod is in the way of the fix, too.
    annotate(&stage, "statefulset/set", "nival.dev/progress-deadline=10m");
    kubelet.breaks("demo/web:3");
    stage.push();
    let third = stage.pin(3);
    wait(&stage, "statefulset/set", "Progressing", &third);
    stage.push();
    wait(&stage, "statefulset/set", "Complete", &stage.pin(4));
}

/// Waits until all pods are back.
fn settled(stage: &Stage, what: &str) {
    let settled = testkit::poll_within(super::PATIENCE, "the old pods to be back", || {
        let object = stage.cluster.kubectl_json(&["get", what])?;
        let status = |field: &str| object["status"][field].as_i64().unwrap_or(0);
        let number = |path: &str| object.pointer(path).and_then(Value::as_i64);
        let there = match what.starts_with("daemonset") {
            true => {
                let wanted = status("desiredNumberScheduled");
                wanted > 0
                    && status("updatedNumberScheduled") == wanted
                    && status("numberAvailable") == wanted
            }
            false => {
                let wanted = number("/spec/replicas").unwrap_or(1);
                let fields = ["replicas", "updatedReplicas", "availableReplicas"];
                fields.iter().all(|field| status(field) == wanted)
            }
        };
        Ok(there.then_some(()))
    });
    settled
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", stage.get(what)["status"], stage.logs()));
}
