//! The webhooks' answers to honest and hostile questions, over HTTP, while no hub answers.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::runtime::reflector;
use serde_json::{Value, json};

use super::{Judge, Nodes, router};
use crate::http::Metrics;
use crate::resolve::Resolver;
use crate::resolve::testing::NoTokens;
use crate::settings::Config;

/// Nobody listens there.
const NO_HUB: &str = "hub = \"http://127.0.0.1:1\"";

/// Serves the webhooks and returns their address.
async fn serve() -> String {
    host::tls::install();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    fs_err::write(&file, NO_HUB).unwrap();
    let (config, _) = Config::load(&file).unwrap();
    let (store, _) = reflector::store();
    let judge = Judge {
        resolver: Resolver::new(config, Arc::new(NoTokens)).unwrap(),
        nodes: Nodes::of(store),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = axum::serve(listener, router(judge, Metrics::default()));
    tokio::spawn(async move { served.await });
    format!("http://{address}")
}

async fn post(address: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30));
    let request = client.build().unwrap().post(address);
    let request = request.header("content-type", "application/json");
    let answer = request.body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn review(kind: (&str, &str), object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "one", "namespace": "web", "operation": "CREATE",
            "kind": {"group": kind.0, "version": "v1", "kind": kind.1},
            "object": object, "oldObject": null,
        },
    })
}

/// Asks, and returns the response in the review.
async fn ask(address: &str, review: &Value) -> Value {
    let (status, text) = post(address, review.to_string()).await;
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["response"]["uid"], "one");
    answer["response"].clone()
}

fn pod(annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "annotations": annotations},
        "spec": {"containers": [{"name": "web"}]},
    })
}

fn full_pin() -> String {
    format!("acme/api:3@{}", env_spec::Digest::of(b"three"))
}

#[tokio::test]
async fn what_is_no_review_is_refused_and_nothing_panics() {
    let address = serve().await;
    let deep = "[".repeat(100_000);
    let mut no_uid = review(("", "Pod"), &pod(&json!({})));
    no_uid["request"]["uid"] = "".into();
    let mut version = review(("", "Pod"), &pod(&json!({})));
    version["apiVersion"] = "admission.k8s.io/v1beta1".into();
    for body in [
        String::new(),
        "null".to_owned(),
        "{}".to_owned(),
        deep,
        "{\"apiVersion\": \"admission.k8s.io/v1\"}".to_owned(),
        "{\"apiVersion\": \"admission.k8s.io/v1\", \"request\": {}}".to_owned(),
        no_uid.to_string(),
        version.to_string(),
    ] {
        for path in ["mutate", "validate"] {
            let (status, text) = post(&format!("{address}/{path}"), body.clone()).await;
            assert!((400..500).contains(&status), "{status} {text}");
        }
    }
    let (status, _) = post(&format!("{address}/mutate"), vec![b' '; 9 << 20]).await;
    assert_eq!(status, 413);
    // Objects that no API server sends, as their fields are of no such type.
    for object in [
        json!(null),
        json!([1]),
        json!({"metadata": 1, "spec": "x"}),
        json!({"metadata": {"annotations": ["x"]}, "spec": {"containers": {"a": 1}}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": {"nival.dev/environment": {}}}}),
    ] {
        for path in ["mutate", "validate"] {
            let response = ask(&format!("{address}/{path}"), &review(("", "Pod"), &object)).await;
            assert_eq!(response["allowed"], false, "{object} {response}");
        }
    }
}

#[tokio::test]
async fn what_is_none_of_nivals_business_is_let_in_as_it_is() {
    let address = format!("{}/mutate", serve().await);
    let wishing = json!({"nival.dev/environment": "acme/api"});
    let mut owned = pod(&wishing);
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "controller": true});
    owned["metadata"]["ownerReferences"] = json!([owner]);
    let mut leaving = pod(&wishing);
    leaving["metadata"]["deletionTimestamp"] = "2026-11-25T10:00:00Z".into();
    for (kind, object) in [
        (("", "Pod"), owned),
        (("", "Pod"), leaving),
        (("", "Pod"), pod(&json!({"other": "x"}))),
        (("", "Service"), json!({"spec": {}})),
        (("example.com", "Deployment"), json!({"spec": {}})),
    ] {
        let response = ask(&address, &review(kind, &object)).await;
        assert_eq!(response, json!({"uid": "one", "allowed": true}), "{object}");
    }
}

#[tokio::test]
async fn without_a_hub_a_pin_goes_through_and_a_reference_is_refused_for_now() {
    let address = serve().await;
    let mutate = format!("{address}/mutate");
    let wishing = pod(&json!({"nival.dev/environment": "acme/api"}));
    let response = ask(&mutate, &review(("", "Pod"), &wishing)).await;
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 503, "{response}");
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("cannot ask the hub for acme/api"),
        "{message}"
    );
    assert!(!message.contains('\n'));
    assert_eq!(response.get("patch"), None);

    let pinned = pod(&json!({"nival.dev/environment": full_pin()}));
    let response = ask(&mutate, &review(("", "Pod"), &pinned)).await;
    assert_eq!(response["patchType"], "JSONPatch", "{response}");
    let patch = STANDARD
        .decode(response["patch"].as_str().unwrap())
        .unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut admitted = pinned;
    json_patch::patch(&mut admitted, &patch).unwrap();
    assert_eq!(
        admitted["metadata"]["annotations"]["nival.dev/generation"],
        full_pin()
    );
    assert_eq!(admitted["spec"]["runtimeClassName"], "nival");
    let response = ask(
        &format!("{address}/validate"),
        &review(("", "Pod"), &admitted),
    )
    .await;
    assert_eq!(response["allowed"], true, "{response}");
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("could not be checked now, nodes will: "),
        "{warning}"
    );
    assert!(warning.chars().count() <= 250);
}
