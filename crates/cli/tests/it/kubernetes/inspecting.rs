//! What is in what runs: packages, differences, bills of materials, and how a pod's start went.

use serde_json::{Value, json};
use testkit::{poll, require};

use super::administrator::{Administrator, deployment};

/// Puts one of a Deployment's pods on a node, and returns its name.
fn pod_on_a_node(admin: &Administrator, label: &str) -> String {
    let pod = poll("a pod", || {
        let pods = admin.get(&["pods", "-l", label]);
        Ok(pods["items"][0]["metadata"]["name"]
            .as_str()
            .map(str::to_owned))
    })
    .unwrap();
    admin.bind(&pod, "n1");
    pod
}

#[test]
fn what_is_in_what_runs_is_told_by_its_documents() {
    require!(root, setup, programs);
    let mut admin = Administrator::new();
    admin.define();
    admin.publisher.push("one");
    let file = admin
        .publisher
        .stack
        .laptop
        .stage("web.yaml", &deployment("demo/app"))
        .unwrap();
    let pinned = admin.well(&format!("pin - < {file}"));
    admin.feed(&["apply", "-f", "-"], &pinned);
    admin.publisher.well("cd ~/app && nival install redis");
    admin.publisher.push("with redis");
    admin.make_node("n1", "ready");
    let pod = pod_on_a_node(&admin, "app=web");

    let diff = admin.well("diff deploy/web");
    let rows: Vec<Vec<&str>> = diff
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["CHANGE", "PACKAGE", "FROM", "TO", "SIZE"]);
    assert!(
        rows.iter()
            .any(|row| row[0] == "added" && row[1] == "redis"),
        "{diff}"
    );
    assert!(rows.iter().all(|row| row[1] != "jq"), "{diff}");
    let diff = admin.json("diff deploy/web --to 2");
    assert!(
        diff["to"].as_str().unwrap().starts_with("demo/app:2@"),
        "{diff}"
    );
    assert!(diff["pathsAdded"].as_u64().unwrap() > 0 && diff["bytesAdded"].as_u64().unwrap() > 0);
    let same = admin.well("diff deploy/web --to demo/app:1 2>&1");
    assert!(same.contains("already"), "{same}");
    admin.badly("diff deploy/web --to 9", 1, &["no generation demo/app:9"]);

    let expected = admin
        .publisher
        .well("nival sbom demo/app:1 --system x86_64-linux");
    for arguments in [
        "sbom deploy/web",
        &format!("sbom pod/{pod}"),
        &format!("sbom pod/{pod} -c web"),
    ] {
        assert_eq!(admin.well(arguments), expected, "{arguments}");
    }
    let spdx = admin.well("sbom deploy/web --format spdx");
    let spdx: Value = serde_json::from_str(&spdx).unwrap();
    assert_eq!(spdx["spdxVersion"], "SPDX-2.3");
    admin.badly(
        &format!("sbom pod/{pod} -c wbe"),
        1,
        &["has no container \"wbe\"", "it has: web"],
    );

    let found = admin.json("who-runs jq")["items"].take();
    assert_eq!(found[0]["workload"], "deployment.apps/web", "{found}");
    assert_eq!(found[0]["pods"].as_array().unwrap().len(), 2, "{found}");
    let version = found[0]["version"].as_str().unwrap();
    let row = admin.well(&format!("who-runs jq@{version} -A"));
    assert!(
        row.starts_with("NAMESPACE") && row.contains("default"),
        "{row}"
    );
    assert_eq!(admin.well("who-runs jq -o name"), "deployment.apps/web\n");
    assert!(
        admin
            .well("who-runs jq@999 2>&1")
            .contains("None of the 1 generation")
    );
    assert!(
        admin.well("who-runs redis 2>&1").contains("None of"),
        "it is in no generation that runs"
    );

    // A pod that nobody pinned: what it runs is not guessed.
    let bare = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "bare", "labels": {"app": "bare"}, "annotations": {"nival.dev/environment": "demo/app"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "main", "image": "nival.dev/placeholder:v1"}]},
    });
    admin.apply(&bare);
    admin.make("NivalNode", "n1", &json!({}));
    let pin = found[0]["generation"].clone();
    admin.write_status("nivalnode", "n1", &json!({"generations": [pin]}));
    admin.badly(
        "sbom pod/bare",
        1,
        &["has no pin", "its node holds: demo/app:1@", "kubectl exec"],
    );
    admin.badly(
        "who-runs jq",
        1,
        &["demo/app in pod/bare, which has no pin", "may lack some"],
    );
    admin
        .cluster
        .kubectl(&["delete", "pod", "bare", "--force", "--grace-period=0"])
        .unwrap();
    // Neither is what the hub does not tell.
    admin.publisher.stack.hub.kill().unwrap();
    admin.badly(
        "who-runs jq",
        1,
        &["not looked into: demo/app:1@", "may lack some"],
    );
}

#[test]
fn a_start_is_told_from_conditions_and_events() {
    require!(root, setup, programs);
    let admin = Administrator::new();
    admin.publisher.push("one");
    let file = admin
        .publisher
        .stack
        .laptop
        .stage("web.yaml", &deployment("demo/app"))
        .unwrap();
    let pinned = admin.well(&format!("pin - < {file}"));
    admin.feed(&["apply", "-f", "-"], &pinned);
    let pod = poll("a pod that no node takes", || {
        let pods = admin.get(&["pods", "-l", "app=web"]);
        let Some(name) = pods["items"][0]["metadata"]["name"].as_str() else {
            return Ok(None);
        };
        let report = admin.well(&format!("logs {name} 2>&1"));
        Ok(report
            .contains("FailedScheduling")
            .then(|| (name.to_owned(), report)))
    });
    let (pod, report) = pod.unwrap();
    assert!(report.starts_with("STAGE"), "{report}");
    assert!(
        report.contains("cannot be told: it is on no node yet"),
        "{report}"
    );
    admin.make_node("n1", "ready");
    admin.bind(&pod, "n1");
    let condition = |kind: &str, time: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time});
    let status = json!({
        "phase": "Pending",
        "conditions": [
            condition("PodScheduled", "2030-01-01T00:00:01Z"),
            condition("PodReadyToStartContainers", "2030-01-01T00:00:08Z"),
        ],
        "containerStatuses": [{
            "name": "web", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "CreateContainerError", "message": "jq: not found"}},
        }],
    });
    // The scheduler may still write what it thought before the pod was bound.
    let report = poll("a start of seven seconds", || {
        admin.write_status("pod", &pod, &status);
        let report = admin.json(&format!("logs pod/{pod}"));
        Ok((report["stages"][1]["took"] == "7s").then_some(report))
    })
    .unwrap();
    let containers = &report["stages"][2];
    assert_eq!(containers["state"], "running", "{report}");
    assert_eq!(
        containers["detail"],
        "web: CreateContainerError: jq: not found"
    );
    assert!(
        report["unknown"]
            .as_str()
            .unwrap()
            .contains("no agent on node n1"),
        "{report}"
    );
    admin.badly("logs deploy/web", 2, &["has no start of its own"]);
    admin.badly("logs nothing", 1, &["no pod/nothing"]);
}
