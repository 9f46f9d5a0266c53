//! An issuer's keys: when they are read, kept and read anew.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use super::issuer::{Key, Server, set};
use super::{NODE, configuration, hub_with, start};
use crate::harness::{Hub, program};

/// Waits until a token counts.
fn counts(hub: &Hub, token: &str) {
    testkit::poll("the token to count", || {
        let answer = hub.get("/v1/info", Some(token), "");
        Ok((answer.status == 200).then_some(()))
    })
    .unwrap();
}

#[tokio::test]
async fn a_new_key_counts_and_one_that_is_gone_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Key::rsa(), Key::p256());
    let (server, hub) = start(folder.path(), &[("old", &old)]);
    let (before, after) = (old.token("old", NODE), new.token("new", NODE));
    assert_eq!(hub.get("/v1/info", Some(&before), "").status, 200);
    server.serve(200, &set(&[("new", &new)]));
    counts(&hub, &after);
    let answer = hub.get("/v1/info", Some(&before), "");
    assert_eq!(answer.status, 401);
    assert!(
        answer.text().contains("no key \\\"old\\\""),
        "{}",
        answer.text()
    );
    assert_eq!(hub.get("/v1/info", Some(&after), "").status, 200);
}

#[tokio::test]
async fn unknown_keys_do_not_make_the_hub_ask_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (key, strange) = (Key::rsa(), Key::p256());
    let (server, hub) = start(folder.path(), &[("one", &key)]);
    let begun = Instant::now();
    for number in 0..50 {
        let token = strange.token(&format!("key-{number}"), NODE);
        assert_eq!(hub.get("/v1/info", Some(&token), "").status, 401);
        assert_eq!(
            hub.get("/v1/info", Some(&key.token("one", NODE)), "")
                .status,
            200
        );
    }
    // Once at first, and then at most every five seconds.
    let most = 2 + begun.elapsed().as_secs() / 5;
    let asked = server.requests().len() as u64;
    assert!(asked <= most, "asked {asked} times, {most} are allowed");
}

#[tokio::test]
async fn an_issuer_that_fails_is_the_hubs_trouble_and_what_is_known_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (key, strange) = (Key::rsa(), Key::p256());
    let (server, hub) = start(folder.path(), &[("one", &key)]);
    let token = key.token("one", NODE);
    for (status, body) in [
        (500, "{}"),
        (302, "{}"),
        (200, "<html>"),
        (200, &"x".repeat(300 << 10)),
    ] {
        server.serve(status, body);
        // What comes within seconds of a failure is told the same without asking again.
        let answer = hub.get("/v1/info", Some(&token), "");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "internal"),
            "{status}"
        );
        assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    }
    assert!(hub.log().contains("answered 500"), "{}", hub.log());
    server.serve(200, &set(&[("one", &key)]));
    counts(&hub, &token);
    drop(server);
    assert_eq!(hub.get("/v1/info", Some(&token), "").status, 200);
    // Whether a key is unknown cannot be told without the issuer, once it has to be asked.
    testkit::poll("the issuer to be asked", || {
        let answer = hub.get("/v1/info", Some(&strange.token("two", NODE)), "");
        Ok((answer.status == 503).then_some(()))
    })
    .unwrap();
    assert_eq!(hub.get("/v1/info", Some(&token), "").status, 200);
}

#[tokio::test]
async fn keys_in_a_file_are_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Key::p256(), Key::p256());
    let file = folder.path().join("keys.json");
    fs_err::write(&file, set(&[("old", &old)])).unwrap();
    let place = format!("jwks-file = \"{}\"", file.display());
    let hub = hub_with(folder.path(), &configuration(&place));
    assert_eq!(
        hub.get("/v1/info", Some(&old.token("old", NODE)), "")
            .status,
        200
    );
    fs_err::write(&file, set(&[("new", &new)])).unwrap();
    counts(&hub, &new.token("new", NODE));
}

#[tokio::test]
async fn an_api_server_is_asked_with_a_token_under_its_own_authority() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    host::tls::install();
    let certified = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs_err::write(path(name), made.cert.pem()).unwrap();
        made
    };
    let (right, _wrong) = (certified("ca.pem"), certified("other.pem"));
    let private = PrivateKeyDer::try_from(right.signing_key.serialize_der()).unwrap();
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![right.cert.der().clone()], private)
        .unwrap();
    let server = Server::start(Some(Arc::new(tls)));
    let key = Key::rsa();
    server.serve(200, &set(&[("one", &key)]));
    fs_err::write(path("token"), "Machine-Token\n").unwrap();
    let place = |authority: &str| {
        format!(
            "jwks-url = \"https://{}/openid/v1/jwks\"\nca-file = \"{}\"\ntoken-file = \"{}\"",
            server.address(),
            path(authority).display(),
            path("token").display()
        )
    };
    let token = key.token("one", NODE);
    let hub = hub_with(folder.path(), &configuration(&place("other.pem")));
    assert_eq!(hub.get("/v1/info", Some(&token), "").status, 503);
    assert_eq!(server.requests(), [""; 0], "no token goes to a stranger");
    let hub = hub_with(folder.path(), &configuration(&place("ca.pem")));
    assert_eq!(hub.get("/v1/info", Some(&token), "").status, 200);
    let requests = server.requests();
    assert!(
        requests[0].contains("authorization: bearer machine-token\r\n"),
        "{requests:?}"
    );
}

#[test]
fn a_hub_whose_issuer_cannot_be_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    for (place, part) in [
        (
            "jwks-url = \"http://issuer.example.com/keys\"",
            "must begin with https://",
        ),
        (
            "jwks-url = \"https://issuer\"\nca-file = \"/nonexistent\"",
            "/nonexistent",
        ),
    ] {
        fs_err::write(&file, configuration(place)).unwrap();
        let mut child = program(folder.path())
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let ended = testkit::poll("the hub to refuse", || Ok(child.try_wait()?));
        if ended.is_err() {
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(part), "{text}");
    }
}
