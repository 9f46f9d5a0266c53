//! Revocation lists: who may change them, in which order, and what they keep from becoming live.

use std::collections::BTreeMap;

use api::hub::HubClient;
use api::hub::error::ErrorCode;
use env_spec::generation::RevocationList;
use env_spec::revocation::{LONGEST_REASON, MOST_REVOKED};
use env_spec::{Digest, Signed, TrustedKeys};

use crate::fixtures::{Release, key, name, pointer, refusal, sign};
use crate::harness::Hub;

fn list(owner: &str, sequence: u64, revoked: &[(Digest, &str)]) -> RevocationList {
    let reasons = revoked
        .iter()
        .map(|(digest, reason)| (*digest, (*reason).to_owned()));
    RevocationList {
        owner: owner.to_owned(),
        revoked: reasons.collect(),
        sequence,
        time: "2026-11-24T10:00:00Z".to_owned(),
    }
}

async fn read(hub: &HubClient, owner: &str) -> RevocationList {
    let mut trusted = TrustedKeys::default();
    trusted.add(owner, key().public_key());
    let signed = hub.revocations(owner).await.unwrap();
    signed.verify("the list", owner, &trusted).unwrap()
}

#[tokio::test]
async fn a_list_is_taken_in_order_and_read_by_everybody() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    refusal(pusher.revocations("demo").await, ErrorCode::NotFound);
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    let first = sign(&list("demo", 1, &[(one, "leaks")]));
    pusher.put_revocations("demo", &first).await.unwrap();
    // The same again, as by a client whose answer was lost.
    pusher.put_revocations("demo", &first).await.unwrap();
    let nobody = hub.client(None);
    assert_eq!(read(&nobody, "demo").await.reason(one), Some("leaks"));

    for sequence in [0, 1, 3] {
        let other = sign(&list("demo", sequence, &[(two, "worse")]));
        let text = refusal(
            pusher.put_revocations("demo", &other).await,
            ErrorCode::RevocationsChanged,
        );
        assert!(text.contains("has sequence 1, so the next is 2"), "{text}");
    }
    let second = sign(&list("demo", 2, &[(two, "worse")]));
    pusher.put_revocations("demo", &second).await.unwrap();
    let present = read(&nobody, "demo").await;
    assert_eq!(present, list("demo", 2, &[(two, "worse")]));

    let log = hub.command(&["audit", "--json"]).unwrap();
    let log: Vec<serde_json::Value> = serde_json::from_str(&log).unwrap();
    let last = log.last().unwrap();
    assert_eq!(
        (&last["action"], &last["subject"]),
        (&"change-revocations".into(), &"demo".into())
    );
    let detail = last["detail"].as_str().unwrap();
    for part in [
        format!("revoked {two} (worse)"),
        format!("no longer revoked {one}"),
    ] {
        assert!(detail.contains(&part), "{detail}");
    }
}

#[tokio::test]
async fn only_who_may_push_changes_a_list() {
    let hub = Hub::start();
    let signed = sign(&list("demo", 1, &[]));
    let put = async |token: Option<&str>| hub.client(token).put_revocations("demo", &signed).await;
    refusal(put(None).await, ErrorCode::Unauthenticated);
    refusal(
        put(Some(&hub.token("other", &[]))).await,
        ErrorCode::Forbidden,
    );
    let reader = hub.token("demo", &["--scope", "read"]);
    refusal(put(Some(&reader)).await, ErrorCode::Forbidden);
    refusal(
        hub.client(None).revocations("demo").await,
        ErrorCode::NotFound,
    );
    put(Some(&hub.token("root", &["--scope", "admin"])))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_no_list_of_the_owner_is_refused_and_leaves_nothing() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let token = hub.token("demo", &[]);
    let digest = Digest::of(b"one");
    let long = "x".repeat(LONGEST_REASON + 1);
    let mut many = list("demo", 1, &[]);
    many.revoked = (0..=MOST_REVOKED)
        .map(|number| (Digest::of(number.to_string().as_bytes()), "x".to_owned()))
        .collect();
    for (wrong, part) in [
        (list("other", 1, &[]), "of \"other\", not of demo"),
        (list("demo", 1, &[(digest, "")]), "reason"),
        (list("demo", 1, &[(digest, "two\nlines")]), "reason"),
        (list("demo", 1, &[(digest, "\u{1b}[2J")]), "reason"),
        (list("demo", 1, &[(digest, &long)]), "reason"),
        (list("demo", 1 << 53, &[]), "9007199254740991"),
        (many, "2001 generations"),
    ] {
        let outcome = pusher.put_revocations("demo", &sign(&wrong)).await;
        let text = refusal(outcome, ErrorCode::BadRequest);
        assert!(text.contains(part), "{part}: {text}");
    }
    let unsigned = Signed {
        signatures: Vec::new(),
        ..sign(&list("demo", 1, &[]))
    };
    let outcome = pusher.put_revocations("demo", &unsigned).await;
    refusal(outcome, ErrorCode::Unsigned);
    // A record of another kind.
    let other = sign(&pointer("demo/app", 1, digest, 1));
    refusal(
        pusher.put_revocations("demo", &other).await,
        ErrorCode::BadRequest,
    );

    let path = "/v1/owners/demo/revocations";
    let body = vec![b' '; 5 << 20];
    let answer = hub.put(path, &token, &body);
    assert_eq!((answer.status, answer.code().as_str()), (413, "too-large"));
    for path in [
        "/v1/owners/DEMO/revocations",
        "/v1/owners/..%2fx/revocations",
    ] {
        assert_eq!(hub.put(path, &token, b"{}").status, 400, "{path}");
        assert_eq!(hub.get(path, None, "").status, 400, "{path}");
    }
    assert_eq!(hub.ask("POST", path, Some(&token), "", b"{}").status, 405);
    assert_eq!(hub.files(), [""; 0]);
}

#[tokio::test]
async fn the_longest_list_is_taken() {
    let hub = Hub::start();
    let mut longest = list("demo", 1, &[]);
    // Each of these characters becomes two in JSON, and four in JSON within JSON.
    longest.revoked = (0..MOST_REVOKED)
        .map(|number| {
            let digest = Digest::of(number.to_string().as_bytes());
            (digest, "\"".repeat(LONGEST_REASON))
        })
        .collect::<BTreeMap<_, _>>();
    let pusher = hub.pusher("demo");
    pusher
        .put_revocations("demo", &sign(&longest))
        .await
        .unwrap();
    assert_eq!(read(&hub.client(None), "demo").await, longest);
}

#[tokio::test]
async fn what_is_revoked_does_not_become_live() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let first = Release::new("1").await;
    let one = first.push(&pusher, "demo/app", 1, None).await;
    let second = Release::new("2").await;
    second.push(&pusher, "demo/app", 2, Some(one)).await;
    let revoked = sign(&list("demo", 1, &[(one, "leaks the key")]));
    pusher.put_revocations("demo", &revoked).await.unwrap();
    let back = sign(&pointer("demo/app", 1, one, 3));
    let outcome = pusher.put_live(&name("demo/app"), &back).await;
    let text = refusal(outcome, ErrorCode::Revoked);
    assert!(
        text.contains("demo/app:1 is revoked: leaks the key"),
        "{text}"
    );

    // What it is stays readable: a bill of materials may be wanted because of the revocation.
    pusher
        .generation(&"demo/app:1".parse().unwrap())
        .await
        .unwrap();
    let undone = sign(&list("demo", 2, &[]));
    pusher.put_revocations("demo", &undone).await.unwrap();
    pusher.put_live(&name("demo/app"), &back).await.unwrap();
}

#[tokio::test]
async fn the_copy_for_static_servers_follows_and_is_repaired() {
    let mut hub = Hub::start();
    let pusher = hub.pusher("demo");
    let signed = sign(&list("demo", 1, &[(Digest::of(b"one"), "leaks")]));
    pusher.put_revocations("demo", &signed).await.unwrap();
    assert_eq!(hub.files(), ["owners/demo/revocations.json"]);
    let file = hub.objects().join("owners/demo/revocations.json");
    let copy = || -> Signed { serde_json::from_slice(&fs_err::read(&file).unwrap()).unwrap() };
    assert_eq!(copy(), signed);
    hub.kill();
    fs_err::write(&file, "cut off").unwrap();
    hub.restart();
    assert_eq!(copy(), signed);
    assert_eq!(hub.client(None).revocations("demo").await.unwrap(), signed);
}
