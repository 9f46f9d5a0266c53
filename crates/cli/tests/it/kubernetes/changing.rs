//! Rollouts and ways back, as far as the cluster's own controllers go.

use serde_json::json;
use testkit::require;

use super::administrator::{Administrator, deployment};

/// Pins a manifest to what is live now, and applies it.
fn pin_and_apply(admin: &Administrator, text: &str) {
    let file = admin
        .publisher
        .stack
        .laptop
        .stage("web.yaml", text)
        .unwrap();
    let pinned = admin.well(&format!("pin --update - < {file}"));
    admin.feed(&["apply", "-f", "-"], &pinned);
}

fn running(admin: &Administrator, workload: &str) -> String {
    let object = admin.get(&[workload]);
    let annotations = &object["spec"]["template"]["metadata"]["annotations"];
    let pin = annotations["nival.dev/generation"].as_str().unwrap();
    assert_eq!(
        annotations["nival.dev/pinned-from"], "demo/app",
        "{annotations}"
    );
    pin.split('@').next().unwrap().to_owned()
}

#[test]
fn a_rollback_needs_no_hub_for_what_the_cluster_remembers() {
    require!(root, setup, programs);
    let mut admin = Administrator::new();
    admin.define();
    let stateful = deployment("demo/app").replace("kind: Deployment", "kind: StatefulSet");
    for number in 1..=3 {
        admin.publisher.push(&number.to_string());
        pin_and_apply(&admin, &deployment("demo/app"));
        pin_and_apply(&admin, &stateful);
        admin.wait_for_revisions("deploy/web", number);
        admin.wait_for_revisions("sts/web", number);
    }
    admin.publisher.push("four, that runs nowhere");
    let history = admin.well("rollout history deployment/web");
    assert!(
        history.starts_with("REVISION  CURRENT  ENVIRONMENT  GENERATION  AGE"),
        "{history}"
    );
    let rows: Vec<Vec<&str>> = history
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0][..3], ["1", "demo/app", "1"]);
    assert_eq!(rows[2][..4], ["3", "*", "demo/app", "3"]);

    admin.publisher.stack.hub.kill().unwrap();
    let said = admin.well("rollback deployment/web");
    assert_eq!(said, "deployment.apps/web: demo/app 3 -> 2\n");
    assert_eq!(running(&admin, "deployment/web"), "demo/app:2");
    let dry = admin.well("rollback deploy/web --to 1 --dry-run");
    assert!(dry.contains("2 -> 1 (server dry run)"), "{dry}");
    assert_eq!(running(&admin, "deployment/web"), "demo/app:2");
    admin.well("rollback deploy/web --to 1");
    assert_eq!(running(&admin, "deployment/web"), "demo/app:1");
    assert_eq!(
        admin.well("rollback deploy/web --to 1"),
        "",
        "it is there already"
    );
    admin.well("rollback sts/web --to 1");
    assert_eq!(running(&admin, "statefulset/web"), "demo/app:1");

    // What only the hub knows cannot be had without it; a node that holds it is enough.
    admin.badly(
        "rollback sts/web --to 4",
        1,
        &["does not remember demo/app:4", "hub"],
    );
    let pin = format!("demo/app:4@sha256:{}", "4".repeat(64));
    admin.make("NivalNode", "n1", &json!({}));
    admin.write_status("nivalnode", "n1", &json!({"generations": [pin]}));
    admin.well("rollback sts/web --to 4");
    assert_eq!(running(&admin, "statefulset/web"), "demo/app:4");

    admin.publisher.stack.hub.resume().unwrap();
    admin.well("rollback deploy/web --to 4");
    assert_eq!(running(&admin, "deployment/web"), "demo/app:4");
    admin.badly(
        "rollback deploy/web --to 9",
        1,
        &["no generation demo/app:9"],
    );
    admin.badly(
        "rollback deploy/none",
        1,
        &["namespace default has no deployment.apps/none"],
    );
    admin.badly("rollback job/x", 1, &["a Job's template never changes"]);
}

#[test]
fn tracking_is_asked_for_held_and_left() {
    require!(root, setup, programs);
    let admin = Administrator::new();
    admin.publisher.push("one");
    pin_and_apply(&admin, &deployment("demo/app"));
    let annotation = |name: &str| {
        let object = admin.get(&["deployment", "web"]);
        object["metadata"]["annotations"][name]
            .as_str()
            .map(str::to_owned)
    };
    admin.well("rollout track deploy/web --deadline 5m");
    assert_eq!(annotation("nival.dev/track").as_deref(), Some("latest"));
    assert_eq!(
        annotation("nival.dev/progress-deadline").as_deref(),
        Some("5m")
    );
    assert!(
        admin
            .well("rollout track deploy/web")
            .ends_with("unchanged\n")
    );
    assert_eq!(
        admin.well("rollout pause deploy/web"),
        "deployment.apps/web paused\n"
    );
    assert_eq!(annotation("nival.dev/paused").as_deref(), Some("true"));
    assert_eq!(
        admin.well("rollout pause deploy/web"),
        "deployment.apps/web unchanged\n"
    );
    let status = admin.well("status deploy/web");
    assert!(
        status.lines().nth(1).unwrap().contains(" paused "),
        "{status}"
    );
    assert_eq!(
        admin.well("rollout resume deploy/web"),
        "deployment.apps/web resumed\n"
    );
    assert_eq!(annotation("nival.dev/paused"), None);
    admin.well("rollout track deploy/web --off");
    assert_eq!(annotation("nival.dev/track"), None);
    admin.badly(
        "rollout track deploy/web --deadline soon",
        2,
        &["is not a deadline"],
    );

    // Nobody looks at templates here, and that is said.
    let restarted = admin.well("rollout restart deploy/web 2>&1");
    assert!(
        restarted.starts_with("deployment.apps/web restarted\n"),
        "{restarted}"
    );
    assert!(
        restarted.contains("demo/app was not pinned anew"),
        "{restarted}"
    );
    let template = &admin.get(&["deployment", "web"])["spec"]["template"];
    let at = &template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"];
    assert!(at.as_str().unwrap().ends_with('Z'), "{template}");

    // There are no nodes, so nothing ever comes up.
    let waits = admin.well("rollout status deploy/web --no-watch");
    assert!(waits.contains("deployment.apps/web waits: "), "{waits}");
    admin.badly(
        "rollout status deploy/web --timeout 1s",
        1,
        &["not rolled out in time"],
    );
    admin
        .cluster
        .kubectl(&["scale", "deployment/web", "--replicas=0"])
        .unwrap();
    let done = admin.well("rollout status deploy/web --timeout 1m");
    assert_eq!(done, "deployment.apps/web successfully rolled out\n");

    let memory = json!({
        "serial": 2, "phase": "RolledBack", "environments": {},
        "startedAt": "2026-11-25T10:00:00Z", "reason": "CrashLoopBackOff: exit code 1",
    });
    let memory = format!("nival.dev/rollout={memory}");
    admin
        .cluster
        .kubectl(&["annotate", "deployment/web", &memory])
        .unwrap();
    admin
        .cluster
        .kubectl(&["label", "deployment/web", "nival.dev/rollout-serial=2"])
        .unwrap();
    admin.badly(
        "rollout status deploy/web",
        1,
        &["was rolled back: CrashLoopBackOff"],
    );
    assert!(admin.well("status").contains("RolledBack"));
}
