//! What the hub and the caches answer, and what the agent makes of it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;

use super::*;
use crate::testing;

/// What a hub, or whoever answers in its place, says to everything.
type Said = Arc<Mutex<(u16, &'static str)>>;

const PUBLIC: &str =
    r#"{"environment":"demo/app","visibility":"public","head":null,"live":null,"sequence":0}"#;
const PAGE: &str = "<html>default backend</html>";
const NO_SUCH: &str = r#"{"code":"not-found","message":"there is none"}"#;

/// Returns the address of a hub that says always the same, and what that is.
async fn serve(status: u16, body: &'static str) -> (String, Said) {
    async fn answer(State(said): State<Said>) -> (StatusCode, &'static str) {
        let (status, body) = *said.lock().unwrap();
        (StatusCode::from_u16(status).unwrap(), body)
    }
    let said: Said = Arc::new(Mutex::new((status, body)));
    let router = Router::new().fallback(answer).with_state(Arc::clone(&said));
    (testing::serve(router).await, said)
}

#[tokio::test]
async fn a_proxys_page_is_not_the_hubs_word_on_who_may_see() {
    let folder = tempfile::tempdir().unwrap();
    let environment: EnvironmentName = "demo/app".parse().unwrap();
    let (address, said) = serve(404, PAGE).await;
    // Fresh answers are of one start.
    let ask = async |status, body| {
        *said.lock().unwrap() = (status, body);
        let hub = testing::hub(folder.path(), &address, "").unwrap();
        hub.is_public(&environment).await
    };
    for status in [404, 200, 403] {
        let error = ask(status, PAGE).await.unwrap_err();
        assert!(matches!(error, AgentError::NeverAsked { .. }), "{error}");
        assert_eq!(error.label(), "unavailable");
    }
    assert!(ask(200, PUBLIC).await.unwrap());
    assert!(ask(404, PAGE).await.unwrap(), "its last word counts");
    assert!(!ask(404, NO_SUCH).await.unwrap());
    ask(404, PAGE).await.unwrap_err();
}

#[test]
fn answers_that_are_no_longer_fresh_are_forgotten() {
    let (mut visible, begun) = (Visible::default(), Instant::now());
    let name = |number: u32| format!("demo/app{number}").parse().unwrap();
    for number in 0..100 {
        visible.put(name(number), true, begun);
    }
    assert_eq!(visible.get(&name(7), begun), Some(true));
    let later = begun + FRESH;
    assert_eq!(visible.get(&name(7), later), None);
    visible.put(name(100), false, later);
    assert_eq!(visible.0.len(), 1);
    assert_eq!(visible.get(&name(100), later), Some(false));
}

#[tokio::test]
async fn a_cache_whose_token_is_not_there_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    host::tls::install();
    let more = r#"
        [[substituters]]
        url = "http://first.example.com"
        before_hub = true
        credential = "file"
        [[substituters]]
        url = "http://second.example.com"
        credential = "secret"
        [[substituters]]
        url = "http://third.example.com"
        [credentials.file]
        token_file = "/nonexistent"
        [credentials.secret]
        secret = "team/cache"
    "#;
    let hub = testing::hub(folder.path(), "http://hub.example.com", more).unwrap();
    let names = || {
        let sources = hub.sources("acme", None).unwrap();
        let names = sources.iter().map(|one| one.name().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names().len(), 2, "{:?}", names());
    assert!(names()[0].contains("hub") && names()[1].contains("third"));
    hub.hand_over([("secret".to_owned(), "a-token".to_owned())])
        .unwrap();
    assert!(names()[1].contains("second"), "{:?}", names());
    // What the environment itself needs a token for waits for it.
    hub.sources("acme", Some("file")).unwrap_err();
}
