//! What is said when the cluster, or a part of Nival in it, is not as it should be.

use serde_json::json;
use testkit::require;

use super::administrator::Administrator;
use crate::user::User;

#[test]
fn no_cluster_is_a_line_and_a_next_step() {
    let user = User::new();
    let here = user.home().to_owned();
    let nival = |arguments: &[&str]| user.types(&here, arguments);
    nival(&["k8s", "status"]).badly(1, &["there is no cluster to ask", "KUBECONFIG"]);
    let file = here.join("kubeconfig");
    let path = file.to_str().unwrap();
    fs_err::write(&file, "no: [yaml").unwrap();
    nival(&["k8s", "status", "--kubeconfig", path]).badly(1, &["cannot use", "kubeconfig"]);
    let text = "\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]
users: [{name: u, user: {token: x}}]
contexts: [{name: c, context: {cluster: c, user: u}}, {name: odd, context: {cluster: c, user: u, namespace: ../x}}]
current-context: c
";
    fs_err::write(&file, text).unwrap();
    nival(&["k8s", "status", "--kubeconfig", path]).badly(
        1,
        &[
            "the API server at https://127.0.0.1:1/ cannot be asked",
            "kubectl version",
        ],
    );
    nival(&[
        "k8s",
        "status",
        "--kubeconfig",
        path,
        "--context",
        "nowhere",
    ])
    .badly(1, &["nowhere"]);
    nival(&["k8s", "status", "--kubeconfig", path, "--context", "odd"])
        .badly(2, &["is not a namespace"]);
    nival(&["k8s", "status", "--kubeconfig", path, "-n", "a/b"]).badly(2, &["is not a namespace"]);
}

#[test]
fn the_doctor_finds_what_is_missing_and_others_are_refused_in_one_line() {
    require!(root, setup, programs);
    let admin = Administrator::new();
    let checks = |text: &str, check: &str| {
        let row = text.lines().find(|line| line.starts_with(check));
        row.unwrap_or_else(|| panic!("{check}: {text}")).to_owned()
    };
    // A cluster with a runtime class and nothing else of Nival.
    let report = admin.well("doctor 2>/dev/null || true");
    for check in [
        "definition of environments",
        "controller",
        "admission configured",
        "admission answers",
        "configuration",
    ] {
        assert!(checks(&report, check).contains(" FAIL "), "{report}");
    }
    assert!(checks(&report, "API server").contains(" ok  "), "{report}");
    assert!(
        checks(&report, "hub (from here)").contains(" ok  "),
        "{report}"
    );
    admin.badly(
        "doctor",
        1,
        &[
            "checks failed",
            "definition of environments.nival.dev: install Nival",
        ],
    );

    admin.define();
    admin
        .cluster
        .kubectl(&["create", "namespace", "nival-system"])
        .unwrap();
    let key = admin.publisher.stack.public_key().unwrap();
    let config = format!("hub = \"http://hub.nival-system\"\n[trust]\ndemo = [\"{key}\"]\n");
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "nival", "namespace": "nival-system"}, "data": {"agent.toml": config},
    });
    admin.apply(&map);
    for (name, status, label) in [
        (
            "good",
            json!({"state": "Ready", "agentVersion": "1"}),
            "ready",
        ),
        (
            "bad",
            json!({"state": "NotReady", "reason": "AgentDown", "message": "no socket"}),
            "no",
        ),
    ] {
        admin.make_node(name, label);
        admin.make("NivalNode", name, &json!({}));
        admin.write_status("nivalnode", name, &status);
    }
    let report = admin.well("doctor 2>/dev/null || true");
    assert!(
        checks(&report, "definition of nivalnodes").contains(" ok  "),
        "{report}"
    );
    assert!(
        checks(&report, "nodes").contains("1 of 2 are ready"),
        "{report}"
    );
    assert!(
        checks(&report, "node bad").contains("AgentDown: no socket"),
        "{report}"
    );
    assert!(
        checks(&report, "configuration").contains("http://hub.nival-system"),
        "{report}"
    );
    let report = admin.well("doctor -o json 2>/dev/null || true");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(
        report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["state"] == "fail")
    );

    // Somebody without rights is told so, and by which command to find out more.
    admin.badly(
        "--as nobody rollback deploy/web",
        1,
        &["cannot get resource", "kubectl auth can-i"],
    );
    let unseen = admin.well("--as nobody status 2>&1");
    assert!(unseen.contains("warning: left out"), "{unseen}");
    let report = admin.well("--as nobody doctor 2>/dev/null || true");
    assert!(
        checks(&report, "controller").contains(" unknown "),
        "{report}"
    );
}
