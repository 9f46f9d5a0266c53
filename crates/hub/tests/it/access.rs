//! Who may read and change what, and what strangers can learn.

use api::hub::environment::{PutEnvironment, Visibility};
use api::hub::error::ErrorCode;
use api::hub::missing::MissingRequest;
use env_spec::Digest;

use crate::fixtures::{Release, name, refusal, sign};
use crate::harness::Hub;

/// All addresses that show something of `demo/app`.
fn addresses(release: &Release, digest: Digest) -> Vec<String> {
    let mut all = vec![
        "/v1/environments/demo/app".to_owned(),
        "/v1/environments/demo/app/live".to_owned(),
        "/v1/environments/demo/app/history".to_owned(),
        "/v1/environments/demo/app/generations/1".to_owned(),
        format!("/v1/environments/demo/app/generations/{digest}"),
        format!(
            "/v1/environments/demo/app/documents/{}",
            Digest::of(&release.sbom)
        ),
    ];
    for package in [&release.library, &release.environment] {
        all.push(format!("/cache/demo/{}", package.narinfo_file()));
        all.push(format!("/cache/demo/{}.ls", package.path().hash_part()));
        all.push(format!("/cache/demo/{}", package.narinfo.url));
    }
    all
}

#[tokio::test]
async fn to_strangers_private_things_look_absent() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let release = Release::new("1").await;
    let digest = release.push(&pusher, "demo/app", 1, None).await;
    let stranger = hub.token("other", &[]);
    let reader = hub.token("demo", &["--scope", "read"]);
    let admin = hub.token("root", &["--scope", "admin"]);

    let empty = Hub::start();
    let nobody = empty.token("other", &[]);
    for address in addresses(&release, digest) {
        for token in [&reader, &admin] {
            assert_eq!(hub.get(&address, Some(token), "").status, 200, "{address}");
        }
        // The whole answer is the same as that of a hub where there is nothing.
        for (token, other) in [(None, None), (Some(&stranger), Some(&nobody))] {
            let shown = hub.get(&address, token.map(String::as_str), "");
            let absent = empty.get(&address, other.map(String::as_str), "");
            assert_eq!(shown.status, 404, "{address}");
            assert_eq!(shown.text(), absent.text(), "{address}");
            let head = hub.ask("HEAD", &address, token.map(String::as_str), "", b"");
            assert_eq!(head.status, 404, "{address}");
        }
    }
    assert!(
        hub.client(None)
            .environments()
            .await
            .unwrap()
            .environments
            .is_empty()
    );
    assert!(
        hub.client(Some(&stranger))
            .environments()
            .await
            .unwrap()
            .environments
            .is_empty()
    );
    assert_eq!(
        hub.client(Some(&admin))
            .environments()
            .await
            .unwrap()
            .environments
            .len(),
        1
    );
}

#[tokio::test]
async fn what_is_made_public_can_be_read_by_all_until_it_is_private_again() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let release = Release::new("1").await;
    let digest = release.push(&pusher, "demo/app", 1, None).await;
    let set = async |visibility| {
        let body = PutEnvironment { visibility };
        pusher
            .put_environment(&name("demo/app"), &body)
            .await
            .unwrap()
    };
    let statuses = || -> Vec<u16> {
        let all = addresses(&release, digest);
        all.iter()
            .map(|address| hub.get(address, None, "").status)
            .collect()
    };
    set(Visibility::Public).await;
    assert!(
        statuses().iter().all(|status| *status == 200),
        "{:?}",
        statuses()
    );
    assert_eq!(
        hub.client(None)
            .environments()
            .await
            .unwrap()
            .environments
            .len(),
        1
    );

    // A new generation of a public environment is public at once; what it does not name stays private.
    let second = Release::new("2").await;
    second.upload(&pusher, "demo/app").await;
    let path = format!("/cache/demo/{}", second.environment.narinfo_file());
    assert_eq!(
        hub.get(&path, None, "").status,
        404,
        "uploaded, but not published"
    );
    let record = sign(&second.record("demo/app", 2, Some(digest)));
    pusher
        .post_generation(&name("demo/app"), &record)
        .await
        .unwrap();
    assert_eq!(hub.get(&path, None, "").status, 200);

    set(Visibility::Private).await;
    assert!(
        statuses().iter().all(|status| *status == 404),
        "{:?}",
        statuses()
    );
}

#[tokio::test]
async fn each_wrong_token_has_its_own_answer() {
    let hub = Hub::start();
    let release = Release::new("1").await;
    let app = name("demo/app");
    let try_with =
        async |token: Option<&str>| release.library.upload_nar(&hub.client(token), "demo").await;
    let text = refusal(try_with(None).await, ErrorCode::Unauthenticated);
    assert!(text.contains("no token"), "{text}");
    let text = refusal(
        try_with(Some("nvl_unknown")).await,
        ErrorCode::Unauthenticated,
    );
    assert!(text.contains("not known"), "{text}");

    let expired = hub.token("demo", &["--expires", "0s"]);
    let text = refusal(try_with(Some(&expired)).await, ErrorCode::TokenExpired);
    assert!(
        text.contains("expired at 20") && text.contains("nival-hub token create"),
        "{text}"
    );

    let foreign = hub.token("other", &[]);
    let text = refusal(try_with(Some(&foreign)).await, ErrorCode::Forbidden);
    assert!(
        text.contains("belongs to other; this needs one of demo"),
        "{text}"
    );

    let reader = hub.token("demo", &["--scope", "read"]);
    let text = refusal(try_with(Some(&reader)).await, ErrorCode::Forbidden);
    assert!(text.contains("may only read"), "{text}");
    let body = PutEnvironment {
        visibility: Visibility::Public,
    };
    let outcome = hub.client(Some(&reader)).put_environment(&app, &body).await;
    refusal(outcome, ErrorCode::Forbidden);

    let good = hub.token("demo", &["--expires", "1d"]);
    try_with(Some(&good)).await.unwrap();
    let listed = hub.command(&["token", "list", "--json"]).unwrap();
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    let id = listed.last().unwrap()["id"].as_str().unwrap();
    hub.command(&["token", "revoke", id]).unwrap();
    let text = refusal(try_with(Some(&good)).await, ErrorCode::Unauthenticated);
    assert!(text.contains("revoked"), "{text}");
}

#[tokio::test]
async fn what_is_missing_is_told_to_holders_of_the_owners_tokens_only() {
    let hub = Hub::start();
    let question = MissingRequest {
        paths: vec![Release::new("1").await.library.wanted()],
    };
    let ask = async |token: Option<&str>| hub.client(token).missing("demo", &question).await;
    refusal(ask(None).await, ErrorCode::Unauthenticated);
    refusal(
        ask(Some(&hub.token("other", &[]))).await,
        ErrorCode::Forbidden,
    );
    ask(Some(&hub.token("demo", &["--scope", "read"])))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_token_as_password_is_as_good() {
    use base64::Engine as _;
    let hub = Hub::start();
    let token = hub.token("demo", &[]);
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("anything:{token}"));
    let answer = hub.get(
        "/v1/info",
        None,
        &format!("authorization: Basic {basic}\r\n"),
    );
    assert!(
        answer.text().contains("\"owner\":\"demo\""),
        "{}",
        answer.text()
    );
    let answer = hub.get("/v1/info", None, "authorization: Basic eDp5\r\n");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (401, "unauthenticated")
    );
    assert!(
        answer.headers.contains("www-authenticate: basic"),
        "{}",
        answer.headers
    );
}

#[tokio::test]
async fn secrets_are_in_no_log_and_no_database() {
    let mut hub = Hub::start();
    let token = hub.token("demo", &[]);
    let admin = fs_err::read_to_string(hub.data().join("admin-token")).unwrap();
    hub.client(Some(&token)).info().await.unwrap();
    assert!(hub.stop());
    let database = fs_err::read(hub.data().join("hub.sqlite")).unwrap();
    for secret in [token.trim(), admin.trim()] {
        assert!(!hub.log().contains(secret));
        assert!(
            !database
                .windows(secret.len())
                .any(|part| part == secret.as_bytes())
        );
    }
}
