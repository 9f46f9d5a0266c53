//! A hub that is slower than starts are patient.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::Semaphore;

use super::*;
use crate::testing;

/// A hub that answers when it is let, and how often it was asked.
#[derive(Clone)]
struct Slow {
    gate: Arc<Semaphore>,
    questions: Arc<AtomicU64>,
}

async fn answer(State(slow): State<Slow>) -> (StatusCode, &'static str) {
    slow.questions.fetch_add(1, Ordering::Relaxed);
    slow.gate.acquire().await.unwrap().forget();
    let body = r#"{"code":"not-found","message":"there is none"}"#;
    (StatusCode::NOT_FOUND, body)
}

#[tokio::test]
async fn a_question_goes_on_when_a_start_has_waited_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let slow = Slow {
        gate: Arc::new(Semaphore::new(0)),
        questions: Arc::default(),
    };
    let path = api::hub::revocations::path("acme");
    let router = Router::new()
        .route(&path, get(answer))
        .with_state(slow.clone());
    let address = testing::serve(router).await;
    let hub = testing::hub(folder.path(), &address, "").unwrap();
    let lists = folder.path().join("revocations");
    // It was confirmed once, long ago.
    let noted = Noted {
        owner: "acme".to_owned(),
        list: None,
        checked_at: 1,
    };
    let notes = Notes::open(lists.clone(), Lasting::Always).unwrap();
    notes.write(&note_of("acme"), &noted).unwrap();
    let settings = RevocationSettings {
        every: Duration::from_secs(3600),
        max_age: None,
    };
    let revocations =
        Revocations::open(lists, settings, TrustedKeys::default(), Arc::new(hub)).unwrap();
    let pin: Pin = format!("acme/api:1@{}", Digest::of(b"")).parse().unwrap();
    for _ in 0..3 {
        revocations.check(&pin).await.unwrap();
    }
    assert_eq!(revocations.view()[0].checked_at, 1);
    slow.gate.add_permits(1);
    let confirmed = async {
        while revocations.view()[0].checked_at == 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), confirmed)
        .await
        .unwrap();
    assert_eq!(
        slow.questions.load(Ordering::Relaxed),
        1,
        "one asks for all"
    );
}
