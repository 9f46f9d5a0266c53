//! The program itself: start, first token, commands beside a running server, stop.

use std::os::unix::fs::PermissionsExt as _;

use crate::fixtures::Release;
use crate::harness::{Hub, program};

#[tokio::test]
async fn a_first_start_makes_an_admin_token_that_only_its_owner_reads() {
    let mut hub = Hub::start();
    let file = hub.data().join("admin-token");
    assert_eq!(
        fs_err::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs_err::metadata(hub.data()).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let token = fs_err::read_to_string(&file).unwrap();
    assert!(token.starts_with("nvl_"), "{token}");
    assert!(hub.log().contains(file.to_str().unwrap()), "{}", hub.log());
    let admin = hub.client(Some(token.trim()));
    Release::new("1")
        .await
        .push(&admin, "anybody/app", 1, None)
        .await;

    fs_err::remove_file(&file).unwrap();
    assert!(hub.stop());
    hub.restart();
    assert!(!file.exists(), "there is a token already");
}

#[tokio::test]
async fn it_stops_on_sigterm_after_open_requests() {
    let mut hub = Hub::start();
    hub.client(None).info().await.unwrap();
    assert!(hub.stop());
    assert!(hub.log().contains("stopped"), "{}", hub.log());
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked_beside_a_running_server() {
    let hub = Hub::start();
    let token = hub.token("demo", &["--scope", "push", "--expires", "30d"]);
    assert!(token.starts_with("nvl_") && token.len() == 47, "{token}");
    let text = hub.command(&["token", "list"]).unwrap();
    assert!(
        text.contains("demo") && text.contains("push") && text.contains("valid"),
        "{text}"
    );
    assert!(!text.contains(&token), "the secret is shown once");
    let listed: Vec<serde_json::Value> =
        serde_json::from_str(&hub.command(&["token", "list", "--json"]).unwrap()).unwrap();
    let demo = listed.iter().find(|one| one["owner"] == "demo").unwrap();
    assert!(demo["expires"].is_string(), "{demo}");
    hub.command(&["token", "revoke", demo["id"].as_str().unwrap()])
        .unwrap();
    let text = hub
        .command(&["token", "revoke", demo["id"].as_str().unwrap()])
        .unwrap_err();
    assert!(text.contains("no token"), "{text}");
    let text = hub
        .command(&["token", "create", "--owner", "../x"])
        .unwrap_err();
    assert!(text.contains("not the name of an owner"), "{text}");
    let text = hub
        .command(&["token", "create", "--owner", "demo", "--expires", "soon"])
        .unwrap_err();
    assert!(text.contains("30d"), "{text}");
}

#[tokio::test]
async fn the_audit_log_tells_who_did_what() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    Release::new("1")
        .await
        .push(&pusher, "demo/app", 1, None)
        .await;
    let lines: Vec<serde_json::Value> =
        serde_json::from_str(&hub.command(&["audit", "--json"]).unwrap()).unwrap();
    let actions: Vec<_> = lines
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    for action in [
        "create-token",
        "create-environment",
        "publish-generation",
        "move-pointer",
    ] {
        assert!(actions.contains(&action), "{actions:?}");
    }
    let published = lines
        .iter()
        .find(|line| line["action"] == "publish-generation")
        .unwrap();
    assert!(
        published["actor"]
            .as_str()
            .unwrap()
            .starts_with("demo (token "),
        "{published}"
    );
    assert!(
        published["subject"]
            .as_str()
            .unwrap()
            .starts_with("demo/app:1@sha256:"),
        "{published}"
    );
    assert!(
        hub.command(&["audit"])
            .unwrap()
            .contains("publish-generation")
    );
}

#[tokio::test]
async fn a_second_hub_on_the_same_data_says_so() {
    let hub = Hub::start();
    let text = hub
        .command(&["serve", "--listen", "127.0.0.1:0"])
        .unwrap_err();
    assert!(text.contains("another nival-hub serves"), "{text}");
    assert!(text.contains(hub.data().to_str().unwrap()), "{text}");
}

#[test]
fn wrong_configuration_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    fs_err::write(&file, "listne = \"x\"\n").unwrap();
    let fails = |words: &[&str]| {
        let output = program(folder.path()).args(words).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let text = fails(&["serve", "--config", file.to_str().unwrap()]);
    assert!(
        text.contains("hub.toml") && text.contains("listne"),
        "{text}"
    );
    let text = fails(&["serve", "--config", "/nonexistent.toml"]);
    assert!(text.contains("/nonexistent.toml"), "{text}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = fails(&[
        "serve",
        "--listen",
        &taken.local_addr().unwrap().to_string(),
    ]);
    assert!(text.contains("cannot listen on 127.0.0.1:"), "{text}");
}

#[tokio::test]
async fn health_is_served_and_metrics_can_have_their_own_address() {
    let hub = Hub::start();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(hub.get(path, None, "").status, 200, "{path}");
    }
    hub.get("/nothing", None, "");
    let page = hub.get("/metrics", None, "").text();
    let line = "nival_hub_requests_total{route=\"Other\",access=\"Read\",status=\"NotFound\"} 1";
    assert!(page.contains(line), "{page}");

    let apart = Hub::start_with(&["--metrics-listen", "127.0.0.1:0"]);
    assert_eq!(apart.get("/metrics", None, "").status, 404);
    let log = apart.log();
    let line = log
        .lines()
        .find(|line| line.contains("serving metrics"))
        .unwrap();
    let address = line.split("address=").nth(1).unwrap();
    let page = reqwest::get(format!("http://{address}/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(page.contains("nival_hub_nar_served_bytes_total"), "{page}");
}

#[test]
fn a_folder_of_data_that_others_may_enter_is_closed_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let open = || {
        fs_err::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
        program(folder.path())
            .args(["token", "list"])
            .output()
            .unwrap()
    };
    let mode = || fs_err::metadata(&data).unwrap().permissions().mode() & 0o777;
    fs_err::create_dir(&data).unwrap();
    fs_err::write(data.join("somebody's"), "file").unwrap();
    let output = open();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        text.contains("mode 755") && text.contains("chmod 700"),
        "{text}"
    );
    assert_eq!(mode(), 0o755, "it may be meant for others");

    fs_err::remove_file(data.join("somebody's")).unwrap();
    for state in ["empty", "a hub's"] {
        assert!(open().status.success(), "{state}");
        assert_eq!(mode(), 0o700, "{state}");
    }
}
