//! Strategies of workloads, quotas, and a generation that is revoked while it is rolled out.

use serde_json::{Value, json};

use super::resuming::{node_joins, node_says, wait_for_wish};
use super::{PlayedKubelet, annotate, memory, start, tracked, wait, wait_for_event};
use crate::stage::{Stage, workload};

/// Waits until so many pods of an app run with this pin, and no pod runs with another one than `others`.
fn wait_for_pods(stage: &Stage, app: &str, pin: &str, count: usize, others: &str) {
    let mut seen = Vec::new();
    let waited = testkit::poll_within(super::PATIENCE, "the pods of an app", || {
        let own = format!("app={app}");
        let pods = stage.cluster.kubectl_json(&["get", "pods", "-l", &own])?;
        seen = pods["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|pod| {
                let pin = &pod["metadata"]["annotations"]["nival.dev/generation"];
                pin.as_str().unwrap_or_default().to_owned()
            })
            .collect();
        let fits = seen.iter().filter(|one| *one == pin).count() == count;
        let no_other = seen.iter().all(|one| one == pin || one == others);
        Ok((fits && no_other).then_some(()))
    });
    waited.unwrap_or_else(|error| panic!("{error} {app}: {seen:?}\n{}", stage.logs()));
}

#[test]
fn partitions_deletion_by_hand_and_parallel_sets_are_respected() {
    testkit::require!(root, setup, programs);
    let stage = start();
    let kubelet = PlayedKubelet::start(&stage);
    let set = |name: &str, more: Value| {
        let mut object = tracked("StatefulSet", name, 3);
        for (field, value) in more.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        object
    };
    let parted =
        json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}});
    stage.apply(&set("parted", parted));
    stage.apply(&set(
        "by-hand",
        json!({"updateStrategy": {"type": "OnDelete"}}),
    ));
    stage.apply(&set("parallel", json!({"podManagementPolicy": "Parallel"})));
    let first = stage.pin(1);
    for name in ["parted", "by-hand", "parallel"] {
        wait(&stage, &format!("statefulset/{name}"), "Complete", &first);
    }
    annotate(
        &stage,
        "statefulset/by-hand",
        "nival.dev/progress-deadline=1s",
    );
    stage.push();
    let second = stage.pin(2);
    for name in ["parted", "parallel"] {
        wait(&stage, &format!("statefulset/{name}"), "Complete", &second);
    }
    wait_for_pods(&stage, "parted", &second, 2, &first);
    // Nobody deletes these, so nothing is late.
    let standing = wait(&stage, "statefulset/by-hand", "Progressing", &second);
    wait_for_pods(&stage, "by-hand", &first, 3, &first);
    assert_eq!(
        memory(&standing)["environments"]["demo/web"]["from"],
        first.as_str()
    );
    stage.kubectl(&[
        "delete",
        "pod",
        "by-hand-0",
        "by-hand-1",
        "by-hand-2",
        "--wait=false",
    ]);
    wait(&stage, "statefulset/by-hand", "Complete", &second);
    wait_for_pods(&stage, "by-hand", &second, 3, &second);
    // All pods of a parallel one may break at once, and all come back.
    annotate(
        &stage,
        "statefulset/parallel",
        "nival.dev/progress-deadline=15s",
    );
    kubelet.breaks("demo/web:3");
    stage.push();
    wait(&stage, "statefulset/parallel", "RolledBack", &second);
    wait_for_pods(&stage, "parallel", &second, 3, &second);
}

#[test]
fn pods_that_a_quota_forbids_are_the_reason_of_a_way_back() {
    testkit::require!(root, setup, programs);
    let stage = start();
    let _kubelet = PlayedKubelet::start(&stage);
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}});
    stage.apply(&quota);
    let mut web = tracked("Deployment", "web", 2);
    web["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    stage.apply(&web);
    let first = stage.pin(1);
    wait(&stage, "deployment/web", "Complete", &first);
    annotate(&stage, "deployment/web", "nival.dev/progress-deadline=20s");
    stage.push();
    let object = wait(&stage, "deployment/web", "RolledBack", &first);
    let reason = memory(&object)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("exceeded quota: few"), "{reason}");
    wait_for_pods(&stage, "web", &first, 2, &first);
}

#[test]
fn a_generation_that_is_revoked_while_nodes_fetch_it_is_not_rolled_out() {
    testkit::require!(root, setup, programs);
    let mut stage = Stage::without_operator("");
    stage.with_the_charts_rights();
    stage.configure("[revocations]\nevery_seconds = 1\n");
    stage.start_operator(&[]);
    let _kubelet = PlayedKubelet::start(&stage);
    let first = stage.pin(1);
    node_joins(&stage, &[&first]);
    stage.apply(&tracked("Deployment", "web", 2));
    let before = wait(&stage, "deployment/web", "Complete", &first);
    stage.push();
    let second = stage.pin(2);
    wait(&stage, "deployment/web", "Prefetching", &first);
    wait_for_wish(&stage, &[&second]);
    let laptop = &stage.stack.laptop;
    laptop
        .shell("nival revoke demo/web:2 --reason 'it leaks'")
        .unwrap();
    // The list that it has may be a second old.
    let pinned = json!({"nival.dev/environment": second});
    let other = workload("Deployment", "other", &pinned);
    let known = testkit::poll("the operator to know of it", || {
        let output = stage.with_manifest(&["create", "--dry-run=server"], &other);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(said.contains("is revoked").then_some(()))
    });
    known.unwrap();
    node_says(&stage, &[&first, &second], &json!([]));
    let held = wait(&stage, "deployment/web", "Held", &first);
    let reason = memory(&held)["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains("demo/web:2 is revoked: it leaks"),
        "{reason}"
    );
    assert_eq!(held["spec"], before["spec"], "the template is as it was");
    wait_for_event(&stage, "web", "Held", |text| text.contains("it leaks"));
    // The next one is followed.
    stage.push();
    let third = stage.pin(3);
    wait_for_wish(&stage, &[&third]);
    node_says(&stage, &[&third], &json!([]));
    wait(&stage, "deployment/web", "Complete", &third);
}
