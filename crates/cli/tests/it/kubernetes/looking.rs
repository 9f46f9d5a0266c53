//! What runs where, as lists show it.

use serde_json::json;
use testkit::{poll, require};

use super::administrator::{Administrator, deployment};

#[test]
fn status_shows_workloads_with_what_the_operator_and_the_nodes_say() {
    require!(root, setup, programs);
    let admin = Administrator::new();
    let digest = admin.publisher.push("one");
    let text = admin.well("status 2>&1");
    assert_eq!(
        text,
        "No workloads that run in environments found in default namespace.\n"
    );
    let file = admin
        .publisher
        .stack
        .laptop
        .stage("web.yaml", &deployment("demo/app"))
        .unwrap();
    let pinned = admin.well(&format!("pin - < {file}"));
    admin.feed(&["apply", "-f", "-"], &pinned);
    // Without the operator's kinds the list is there, and says what it cannot know.
    let status = admin.well("status");
    let cells: Vec<&str> = status.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        cells[..8],
        [
            "deployment.apps/web",
            "demo/app",
            "1",
            "<unknown>",
            "<none>",
            "<unknown>",
            "0/2",
            "0"
        ]
    );

    admin.define();
    admin.make(
        "Environment",
        "demo.app",
        &json!({"environment": "demo/app"}),
    );
    admin.write_status(
        "environment",
        "demo.app",
        &json!({
            "live": {"generation": format!("demo/app:2@{digest}"), "number": 2, "sequence": 2, "since": "2026-11-25T10:00:00Z"},
            "workloads": [{"kind": "Deployment", "name": "web", "tracking": false, "phase": "Held", "ready": 0, "desired": 2}],
            "lastFailure": {"workload": "Deployment/web", "generation": "demo/app:2", "reason": "RolledBack", "message": "exit code 7", "time": "2026-11-25T10:00:00Z"},
        }),
    );
    // One of the pods is on a node.
    admin.make_node("n1", "ready");
    let pod = poll("a pod", || {
        let pods = admin.get(&["pods", "-l", "app=web"]);
        Ok(pods["items"][0]["metadata"]["name"]
            .as_str()
            .map(str::to_owned))
    })
    .unwrap();
    admin.bind(&pod, "n1");

    let wide = admin.well("status -o wide");
    let mut lines = wide.lines();
    assert!(lines.next().unwrap().ends_with("MESSAGE"), "{wide}");
    let row = lines.next().unwrap();
    for part in ["Held", " 2 ", "n1", "RolledBack: exit code 7", &digest] {
        assert!(row.contains(part), "{part}: {wide}");
    }
    let row = &admin.json("status -A")["items"][0];
    assert_eq!(
        (
            &row["namespace"],
            &row["number"],
            &row["live"],
            &row["nodes"]
        ),
        (&json!("default"), &json!(1), &json!(2), &json!(["n1"]))
    );
    assert_eq!(admin.well("status -o name"), "deployment.apps/web\n");
    let yaml = admin.well("status -o yaml");
    assert!(yaml.contains("  environment: demo/app\n"), "{yaml}");
    assert!(admin.well("status -A").starts_with("NAMESPACE"));
    assert!(
        admin
            .well("-n kube-system status 2>&1")
            .contains("No workloads")
    );
    admin.badly(
        "status sts/web",
        1,
        &["namespace default has no statefulset.apps/web"],
    );
    admin.badly("status web", 2, &["names no kind"]);

    // The same verb of the other program.
    let kubeconfig = admin.publisher.stack.laptop.shared().join("kubeconfig");
    let script = format!(
        "nival k8s --kubeconfig {} status -o name",
        kubeconfig.display()
    );
    assert_eq!(admin.publisher.well(&script), "deployment.apps/web\n");
}
