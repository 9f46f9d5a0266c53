//! Waiting for the live pointer to move: woken by the move, bounded in time and number, ended with the hub.

use std::time::Duration;

use api::hub::environment::{PutEnvironment, Visibility};
use api::hub::error::ErrorCode;
use api::hub::{ClientError, HubClient};
use env_spec::Signed;
use env_spec::generation::LivePointer;
use tokio::task::JoinHandle;

use crate::fixtures::{Release, name, pointer, refusal, sign};
use crate::harness::Hub;

const LONG: Duration = Duration::from_secs(60);

type Waiting = JoinHandle<Result<Option<Signed>, ClientError>>;

/// Begins to wait, and returns when the hub has as many waits under way.
fn begin(hub: &Hub, client: HubClient, after: u64, under_way: u64) -> Waiting {
    let waiting =
        tokio::spawn(async move { client.live_after(&name("demo/app"), after, LONG).await });
    testkit::poll("the wait to begin", || {
        let waits = hub.counter("nival_hub_waits_in_flight");
        Ok((waits == under_way || waiting.is_finished()).then_some(()))
    })
    .unwrap();
    waiting
}

fn sequence(signed: Option<Signed>) -> Option<u64> {
    signed.map(|signed| signed.read_unverified::<LivePointer>().unwrap().sequence)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_wakes_who_waits_for_it() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let body = PutEnvironment {
        visibility: Visibility::Private,
    };
    pusher
        .put_environment(&name("demo/app"), &body)
        .await
        .unwrap();
    // Nothing was ever live.
    let waiting = begin(&hub, pusher.clone(), 0, 1);
    let one = Release::new("1")
        .await
        .push(&pusher, "demo/app", 1, None)
        .await;
    assert_eq!(sequence(waiting.await.unwrap().unwrap()), Some(1));

    let others = [
        begin(&hub, pusher.clone(), 1, 1),
        begin(&hub, pusher.clone(), 1, 2),
    ];
    Release::new("other")
        .await
        .push(&pusher, "demo/other", 1, None)
        .await;
    assert!(others.iter().all(|waiting| !waiting.is_finished()));
    Release::new("2")
        .await
        .push(&pusher, "demo/app", 2, Some(one))
        .await;
    for waiting in others {
        assert_eq!(sequence(waiting.await.unwrap().unwrap()), Some(2));
    }
    // Who is behind is told at once, with the newest.
    let behind = pusher.live_after(&name("demo/app"), 0, LONG).await;
    assert_eq!(sequence(behind.unwrap()), Some(2));
}

#[tokio::test]
async fn a_wait_without_a_move_ends_in_time() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    Release::new("1")
        .await
        .push(&pusher, "demo/app", 1, None)
        .await;
    for seconds in [0, 1] {
        let wait = Duration::from_secs(seconds);
        let outcome = pusher.live_after(&name("demo/app"), 1, wait).await;
        assert_eq!(outcome.unwrap(), None);
    }
    let token = hub.token("demo", &["--scope", "read"]);
    let answer = hub.get("/v1/environments/demo/app/live?after=1", Some(&token), "");
    assert_eq!((answer.status, answer.body.len()), (304, 0));
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    Release::new("1")
        .await
        .push(&pusher, "demo/app", 1, None)
        .await;
    let token = hub.token("demo", &[]);
    for query in [
        "after=x",
        "after=-1",
        "after=99999999999999999999&wait=1",
        "after=",
        "after=1&wait=61",
        "after=1&wait=18446744073709551615",
        "after=1&after=2",
        "wait=1",
    ] {
        let path = format!("/v1/environments/demo/app/live?{query}");
        let answer = hub.get(&path, Some(&token), "");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "bad-request"),
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_learns_nothing_by_waiting() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let one = Release::new("1")
        .await
        .push(&pusher, "demo/app", 1, None)
        .await;
    let stranger = hub.client(Some(&hub.token("other", &[])));
    let outcome = stranger.live_after(&name("demo/app"), 1, LONG).await;
    refusal(outcome, ErrorCode::NotFound);
    let outcome = stranger.live_after(&name("demo/absent"), 1, LONG).await;
    refusal(outcome, ErrorCode::NotFound);

    let set = async |visibility| {
        let body = PutEnvironment { visibility };
        pusher
            .put_environment(&name("demo/app"), &body)
            .await
            .unwrap()
    };
    set(Visibility::Public).await;
    let waiting = begin(&hub, stranger.clone(), 1, 1);
    set(Visibility::Private).await;
    let moved = sign(&pointer("demo/app", 1, one, 2));
    pusher.put_live(&name("demo/app"), &moved).await.unwrap();
    refusal(waiting.await.unwrap(), ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_connections_stay_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hub.toml");
    fs_err::write(&config, "most-connections = 4\n").unwrap();
    let hub = Hub::start_with(&["--config", config.to_str().unwrap()]);
    let token = hub.token("demo", &[]);
    let digest = Release::new("1")
        .await
        .push(&hub.client(Some(&token)), "demo/app", 1, None)
        .await;
    // Each client has connections of its own.
    let one = begin(&hub, hub.client(Some(&token)), 1, 1);
    let two = begin(&hub, hub.client(Some(&token)), 1, 2);
    let path = "/v1/environments/demo/app/live?after=1&wait=60";
    let answer = hub.get(path, Some(&token), "");
    assert_eq!((answer.status, answer.code().as_str()), (429, "busy"));
    assert_eq!(hub.get("/healthz", None, "").status, 200);
    let error = hub
        .client(Some(&token))
        .live_after(&name("demo/app"), 1, LONG)
        .await;
    assert!(error.unwrap_err().is_transient());
    // Who went away waits no more.
    one.abort();
    assert!(one.await.unwrap_err().is_cancelled());
    let three = tokio::spawn({
        let client = hub.client(Some(&token));
        async move {
            loop {
                match client.live_after(&name("demo/app"), 1, LONG).await {
                    Err(error) if error.code() == Some(ErrorCode::Busy) => {
                        tokio::task::yield_now().await;
                    }
                    outcome => return outcome,
                }
            }
        }
    });
    let moved = sign(&pointer("demo/app", 1, digest, 2));
    hub.client(Some(&token))
        .put_live(&name("demo/app"), &moved)
        .await
        .unwrap();
    for waiting in [two, three] {
        assert_eq!(sequence(waiting.await.unwrap().unwrap()), Some(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_stops_ends_all_waits() {
    let mut hub = Hub::start();
    let pusher = hub.pusher("demo");
    Release::new("1")
        .await
        .push(&pusher, "demo/app", 1, None)
        .await;
    let waiting = begin(&hub, pusher, 1, 1);
    assert!(hub.stop());
    assert_eq!(waiting.await.unwrap().unwrap(), None);
    assert!(!hub.log().contains("cut off"), "{}", hub.log());
}
