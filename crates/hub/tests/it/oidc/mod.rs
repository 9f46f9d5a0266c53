//! Tokens of other issuers: which count, for what, and which do not.

mod hostile;
mod issuer;
mod keys;

use std::path::Path;

use api::hub::error::ErrorCode;
use issuer::{AUDIENCE, ISSUER, Key, Server, set};

use crate::fixtures::{Release, name, pointer, refusal, sign};
use crate::harness::Hub;

const NODE: &str = "system:serviceaccount:nival-system:node";
const CI: &str = "repo:acme/api:ref:refs/heads/main";

/// Nodes may read what is of demo and acme, CI may push for demo.
const RULES: &str = r#"
[[oidc.allow]]
subject = "system:serviceaccount:nival-system:*"
owner = "demo"
scope = "read"
[[oidc.allow]]
subject = "system:serviceaccount:nival-system:*"
owner = "acme"
scope = "read"
[[oidc.allow]]
subject = "repo:acme/*"
owner = "demo"
scope = "push"
"#;

/// Returns a configuration whose keys are at this place.
fn configuration(place: &str) -> String {
    format!("[[oidc]]\nissuer = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\n{place}\n{RULES}")
}

/// Starts a hub with this configuration in a folder.
fn hub_with(folder: &Path, configuration: &str) -> Hub {
    let file = folder.join("hub.toml");
    fs_err::write(&file, configuration).unwrap();
    Hub::start_with(&["--config", file.to_str().unwrap()])
}

/// Starts a server with these keys, and a hub that asks it.
fn start(folder: &Path, keys: &[(&str, &Key)]) -> (Server, Hub) {
    let server = Server::start(None);
    server.serve(200, &set(keys));
    let place = format!("jwks-url = \"http://{}/openid/v1/jwks\"", server.address());
    let hub = hub_with(folder, &configuration(&place));
    (server, hub)
}

#[tokio::test]
async fn a_subject_may_what_its_rules_say() {
    let folder = tempfile::tempdir().unwrap();
    let (rsa, p256) = (Key::rsa(), Key::p256());
    let (server, hub) = start(folder.path(), &[("one", &rsa), ("two", &p256)]);
    let ci = p256.token("two", CI);
    let pusher = hub.client(Some(&ci));
    let release = Release::new("1").await;
    let digest = release.push(&pusher, "demo/app", 1, None).await;
    let admin = hub.pusher("hidden");
    Release::new("2")
        .await
        .push(&admin, "hidden/app", 1, None)
        .await;
    let acme = hub.pusher("acme");
    Release::new("3")
        .await
        .push(&acme, "acme/app", 1, None)
        .await;

    let node = rsa.token("one", NODE);
    let reader = hub.client(Some(&node));
    assert_eq!(
        reader.info().await.unwrap().owner.as_deref(),
        Some("acme, demo")
    );
    let listed = reader.environments().await.unwrap().environments;
    let names: Vec<String> = listed
        .iter()
        .map(|one| one.environment.to_string())
        .collect();
    assert_eq!(names, ["acme/app", "demo/app"]);
    reader.live(&name("demo/app")).await.unwrap();
    let path = format!("/cache/demo/{}", release.environment.narinfo_file());
    assert_eq!(hub.get(&path, Some(&node), "").status, 200);
    refusal(reader.live(&name("hidden/app")).await, ErrorCode::NotFound);

    let moved = sign(&pointer("demo/app", 1, digest, 2));
    let outcome = reader.put_live(&name("demo/app"), &moved).await;
    let text = refusal(outcome, ErrorCode::Forbidden);
    assert!(text.contains("may only read"), "{text}");
    let other = sign(&pointer("acme/app", 1, digest, 2));
    let outcome = pusher.put_live(&name("acme/app"), &other).await;
    let text = refusal(outcome, ErrorCode::Forbidden);
    assert!(
        text.contains("belongs to demo; this needs one of acme"),
        "{text}"
    );
    pusher.put_live(&name("demo/app"), &moved).await.unwrap();
    let log = hub.command(&["audit"]).unwrap();
    assert!(log.contains(&format!("{CI} ({ISSUER})")), "{log}");
    assert_eq!(server.requests().len(), 1, "{:?}", server.requests());
}

#[tokio::test]
async fn such_a_token_as_password_is_as_good() {
    use base64::Engine as _;
    let folder = tempfile::tempdir().unwrap();
    let key = Key::rsa();
    let (_server, hub) = start(folder.path(), &[("one", &key)]);
    let pair = format!("any:{}", key.token("one", NODE));
    let basic = base64::engine::general_purpose::STANDARD.encode(pair);
    let header = format!("authorization: Basic {basic}\r\n");
    let answer = hub.get("/v1/info", None, &header);
    assert!(answer.text().contains("acme, demo"), "{}", answer.text());
}

#[tokio::test]
async fn the_hubs_own_tokens_count_beside_and_without_issuers_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::rsa();
    let (_server, hub) = start(folder.path(), &[("one", &key)]);
    let own = hub.token("demo", &[]);
    assert_eq!(hub.get("/v1/info", Some(&own), "").status, 200);
    let without = Hub::start();
    let answer = without.get("/v1/info", Some(&key.token("one", NODE)), "");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (401, "unauthenticated")
    );
}
