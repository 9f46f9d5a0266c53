//! Lists as a hub serves them, and what they stop.

use std::path::Path;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use env_spec::Digest;
use env_spec::generation::RevocationList;
use nix_data::SecretKey;

use super::super::hub::Hub;
use super::super::testing::{self, NoTokens};
use super::*;

/// What the hub serves; none where it says that there is no list.
type Served = Arc<Mutex<Option<Signed>>>;

/// A hub, and a controller that asks it each time.
struct Scene {
    served: Served,
    address: String,
    revocations: Revocations,
}

impl Scene {
    async fn start() -> Self {
        async fn answer(State(served): State<Served>) -> Response {
            match served.lock().unwrap().clone() {
                Some(list) => Json(list).into_response(),
                None => {
                    let body = r#"{"code":"not-found","message":"there is none"}"#;
                    (StatusCode::NOT_FOUND, body).into_response()
                }
            }
        }
        let served = Served::default();
        let path = api::hub::revocations::path("acme");
        let router = Router::new()
            .route(&path, get(answer))
            .with_state(Arc::clone(&served));
        Self {
            served,
            address: testing::serve(router).await,
            revocations: Revocations::default(),
        }
    }

    fn settings(&self, trusted: &SecretKey, more: &str) -> Arc<Settings> {
        let (hub, key) = (&self.address, trusted.public_key());
        let text = format!(
            "hub = \"{hub}\"\n[trust]\nacme = [\"{key}\"]\n[revocations]\nevery_seconds = 0\n{more}"
        );
        Arc::new(Settings::decide(Path::new("agent.toml"), &text).unwrap())
    }

    fn serve(&self, sequence: u64, revoked: &[&str], key: &SecretKey) {
        *self.served.lock().unwrap() = Some(list(sequence, revoked, key));
    }

    async fn check(&self, settings: &Arc<Settings>, generation: &str) -> Result<(), ResolveError> {
        let hub = Hub::new(Arc::new(NoTokens)).unwrap();
        let way = hub.client(settings, None).unwrap();
        let pin = Pin {
            hub: None,
            environment: "acme/api".parse().unwrap(),
            number: 1,
            digest: Digest::of(generation.as_bytes()),
        };
        self.revocations.check(settings, &way, &pin).await
    }
}

fn list(sequence: u64, revoked: &[&str], key: &SecretKey) -> Signed {
    let reason = |one: &&str| (Digest::of(one.as_bytes()), "leaks".to_owned());
    let list = RevocationList {
        owner: "acme".to_owned(),
        revoked: revoked.iter().map(reason).collect(),
        sequence,
        time: String::new(),
    };
    Signed::new(&list, key).unwrap()
}

fn key(seed: u8) -> SecretKey {
    SecretKey::generate_from_seed(&format!("acme-{seed}"), [seed; 32]).unwrap()
}

fn is_revoked(answer: &Result<(), ResolveError>) -> bool {
    matches!(answer, Err(ResolveError::Revoked { .. }))
}

#[tokio::test]
async fn a_list_that_no_trusted_key_signed_stops_nothing() {
    let scene = Scene::start().await;
    let (trusted, strange) = (key(1), key(2));
    scene.serve(9, &["one"], &strange);
    let settings = scene.settings(&trusted, "");
    scene.check(&settings, "one").await.unwrap();
    // Where confirmed lists are asked for, it is none.
    let strict = scene.settings(&trusted, "max_age_seconds = 600");
    let error = scene.check(&strict, "one").await.unwrap_err();
    let text = one_line(&error);
    assert!(
        text.contains("was never confirmed, and the policy allows 600 seconds"),
        "{text}"
    );
    assert!(text.contains("not signed by a key trusted"), "{text}");
    assert!(error.is_transient());
    // Its sequence keeps no honest one out, and it takes the place of none.
    scene.serve(1, &["one"], &trusted);
    assert!(is_revoked(&scene.check(&settings, "one").await));
    scene.serve(10, &[], &strange);
    assert!(is_revoked(&scene.check(&settings, "one").await));
}

#[tokio::test]
async fn a_key_that_is_trusted_no_more_revokes_nothing() {
    let scene = Scene::start().await;
    let (old, new) = (key(1), key(2));
    scene.serve(1 << 50, &["one"], &old);
    let before = scene.settings(&old, "");
    assert!(is_revoked(&scene.check(&before, "one").await));
    let after = scene.settings(&new, "");
    scene.check(&after, "one").await.unwrap();
    scene.serve(1, &["two"], &new);
    scene.check(&after, "one").await.unwrap();
    assert!(is_revoked(&scene.check(&after, "two").await));
}

#[tokio::test]
async fn a_change_of_other_settings_forgets_nothing() {
    let scene = Scene::start().await;
    let key = key(1);
    scene.serve(5, &["one"], &key);
    assert!(is_revoked(
        &scene.check(&scene.settings(&key, ""), "one").await
    ));
    let later = scene.settings(&key, "");
    for (sequence, revoked) in [(4, "two"), (5, "two")] {
        scene.serve(sequence, &[revoked], &key);
        assert!(is_revoked(&scene.check(&later, "one").await), "{sequence}");
        scene.check(&later, "two").await.unwrap();
    }
    *scene.served.lock().unwrap() = None;
    assert!(is_revoked(&scene.check(&later, "one").await));
}

#[tokio::test]
async fn an_answer_that_was_asked_for_earlier_takes_nothing_back() {
    let scene = Scene::start().await;
    let key = key(1);
    let settings = scene.settings(&key, "");
    let early = Instant::now();
    let late = early + Duration::from_millis(1);
    let accept = |sequence, begun| {
        let answer = Some(list(sequence, &["one"], &key));
        let accepted = scene.revocations.accept(&settings, "acme", answer, begun);
        accepted.map(|known| known.list.list().sequence)
    };
    assert_eq!(accept(6, late).unwrap(), 6);
    assert_eq!(accept(5, early).unwrap(), 6);
    let error = accept(5, late).unwrap_err();
    assert!(matches!(error, ListError::Replayed { .. }), "{error}");
}

#[test]
fn a_list_that_was_not_confirmed_for_too_long_counts_no_more() {
    let confirmed = Instant::now();
    let known = Known {
        list: Believed::nothing("acme"),
        signed: None,
        settings: Weak::new(),
        confirmed,
    };
    let check = |seconds, allowed: Option<u64>| {
        let now = confirmed + Duration::from_secs(seconds);
        let failure = Unconfirmed::List(ListError::Hidden { seen: 1 });
        let allowed = allowed.map(Duration::from_secs);
        check_age("acme", Some(&known), now, allowed, failure)
    };
    assert!(check(1_000_000, None).is_ok());
    assert!(check(600, Some(600)).is_ok());
    let error = check(601, Some(600)).unwrap_err();
    assert!(error.is_transient());
    assert!(
        error.to_string().contains("last confirmed 601 seconds ago"),
        "{error}"
    );
}
