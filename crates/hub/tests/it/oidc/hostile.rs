//! Tokens that somebody made who means harm.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ring::hmac;
use serde_json::{Value, json};

use super::issuer::{ISSUER, Key, claims, encode, now, unsigned};
use super::{NODE, start};

/// Returns claims with one of them changed; null takes it away.
fn changed(name: &str, value: Value) -> Value {
    let mut all = claims(NODE);
    let object = all.as_object_mut().unwrap();
    match value {
        Value::Null => object.remove(name),
        value => object.insert(name.to_owned(), value),
    };
    all
}

#[tokio::test]
async fn each_wrong_token_is_refused_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let (rsa, p256, strange) = (Key::rsa(), Key::p256(), Key::p256());
    let (server, hub) = start(folder.path(), &[("one", &rsa), ("two", &p256)]);
    let header = json!({"alg": "RS256", "kid": "one"});
    let good = rsa.token_of(&header, &claims(NODE));
    assert_eq!(hub.get("/v1/info", Some(&good), "").status, 200);

    let with = |name: &str, value: Value| rsa.token_of(&header, &changed(name, value));
    let none = unsigned(&json!({"alg": "none", "kid": "one"}), &claims(NODE));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let altered = unsigned(
        &header,
        &changed("sub", "system:serviceaccount:nival-system:x".into()),
    );
    // The public key as if it were a shared secret, in both forms that libraries fell for.
    let modulus = rsa.public("one")["n"].as_str().unwrap().to_owned();
    let with_hmac = |secret: &[u8]| {
        let text = unsigned(&json!({"alg": "HS256", "kid": "one"}), &claims(NODE));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = encode(hmac::sign(&key, text.as_bytes()).as_ref());
        format!("{text}.{tag}")
    };
    let p256_as_rsa = p256.token_of(&json!({"alg": "RS256", "kid": "two"}), &claims(NODE));
    let expired_strangers = strange.token_of(
        &json!({"alg": "ES256", "kid": "two"}),
        &changed("exp", (now() - 3600).into()),
    );
    for (what, token, code, part) in [
        (
            "no signature",
            format!("{none}."),
            "unauthenticated",
            "signed with \"none\"",
        ),
        (
            "none, with one",
            format!("{none}.{signature}"),
            "unauthenticated",
            "\"none\"",
        ),
        (
            "good, without one",
            format!("{signed}."),
            "unauthenticated",
            "signature is wrong",
        ),
        (
            "altered",
            format!("{altered}.{signature}"),
            "unauthenticated",
            "signature is wrong",
        ),
        (
            "hmac of text",
            with_hmac(modulus.as_bytes()),
            "unauthenticated",
            "\"HS256\"",
        ),
        (
            "hmac of the set",
            with_hmac(rsa.public("one").to_string().as_bytes()),
            "unauthenticated",
            "\"HS256\"",
        ),
        (
            "other curve",
            p256_as_rsa,
            "unauthenticated",
            "signature is wrong",
        ),
        (
            "a stranger's",
            strange.token("two", NODE),
            "unauthenticated",
            "signature is wrong",
        ),
        (
            "unknown key",
            strange.token("three", NODE),
            "unauthenticated",
            "no key \"three\"",
        ),
        (
            "long key id",
            strange.token(&"x".repeat(2000), NODE),
            "unauthenticated",
            "no key",
        ),
        (
            "no key id",
            rsa.token_of(&json!({"alg": "RS256"}), &claims(NODE)),
            "unauthenticated",
            "names no key",
        ),
        (
            "an extension",
            rsa.token_of(
                &json!({"alg": "RS256", "kid": "one", "crit": ["exp"]}),
                &claims(NODE),
            ),
            "unauthenticated",
            "extension",
        ),
        (
            "other audience",
            with("aud", "other".into()),
            "unauthenticated",
            "audience \"nival-hub\"",
        ),
        (
            "no audience",
            with("aud", json!([])),
            "unauthenticated",
            "audience \"nival-hub\"",
        ),
        (
            "none at all",
            with("aud", Value::Null),
            "unauthenticated",
            "claims cannot be read",
        ),
        (
            "other issuer",
            with("iss", "https://evil".into()),
            "unauthenticated",
            "\"https://evil\"",
        ),
        (
            "nearly the issuer",
            with("iss", format!("{ISSUER}/").into()),
            "unauthenticated",
            "none of its issuer",
        ),
        (
            "expired",
            with("exp", (now() - 60).into()),
            "token-expired",
            "expired at 20",
        ),
        (
            "expired long ago",
            with("exp", json!(-9.9e99)),
            "token-expired",
            "expired at",
        ),
        (
            "no expiry",
            with("exp", Value::Null),
            "unauthenticated",
            "claims cannot be read",
        ),
        (
            "text expiry",
            with("exp", "9999999999".into()),
            "unauthenticated",
            "claims cannot",
        ),
        (
            "not yet",
            with("nbf", (now() + 600).into()),
            "unauthenticated",
            "not valid before",
        ),
        (
            "expired stranger's",
            expired_strangers,
            "token-expired",
            "expired at",
        ),
        (
            "no subject",
            with("sub", "".into()),
            "unauthenticated",
            "subject",
        ),
        (
            "two lines",
            with("sub", "a\nb".into()),
            "unauthenticated",
            "subject",
        ),
        (
            "other subject",
            with("sub", "system:serviceaccount:other:x".into()),
            "forbidden",
            "no rule",
        ),
        (
            "no JSON",
            format!("{}.{}.x", encode(b"{"), encode(b"{")),
            "unauthenticated",
            "header",
        ),
        ("nothing", "..".to_owned(), "unauthenticated", "header"),
    ] {
        let answer = hub.get("/v1/info", Some(&token), "");
        let status = if code == "forbidden" { 403 } else { 401 };
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{what}: {}",
            answer.text()
        );
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let text = body["message"].as_str().unwrap();
        assert!(text.contains(part), "{what}: {text}");
    }
    assert_eq!(hub.get("/v1/info", Some(&good), "").status, 200);
    assert!(!hub.log().contains(signature), "a token is in the log");
    drop(server);
}

#[tokio::test]
async fn huge_headers_are_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::rsa();
    let (server, hub) = start(folder.path(), &[("one", &key)]);
    let mut large = claims(NODE);
    large["groups"] = "x".repeat(4 << 10).into();
    let header = json!({"alg": "RS256", "kid": "one"});
    let token = key.token_of(&header, &large);
    assert_eq!(hub.get("/v1/info", Some(&token), "").status, 200);
    let asked = server.requests().len();
    for size in [8 << 10, 200 << 10] {
        large["groups"] = "x".repeat(size).into();
        let answer = hub.get("/v1/info", Some(&key.token_of(&header, &large)), "");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "unauthenticated"),
            "{size}"
        );
    }
    // Past what a header may have the hub breaks off.
    let mut stream = TcpStream::connect(hub.address()).unwrap();
    let endless = "x".repeat(4 << 20);
    let head = format!("GET /v1/info HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {endless}");
    let _sent = stream.write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _closed = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    let dots = format!("{}.{}", ".".repeat(100), "x".repeat(1000));
    assert_eq!(hub.get("/v1/info", Some(&dots), "").status, 401);
    assert_eq!(server.requests().len(), asked);
    assert_eq!(hub.get("/v1/info", Some(&token), "").status, 200);
}
