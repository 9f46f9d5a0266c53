//! A term of leading for tests, in a cluster whose API server is a function.

use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::Value;

use super::index::Item;
use super::{Metrics, Rollouts, State};
use crate::http;
use crate::resolve::Resolver;
use crate::resolve::testing::NoTokens;
use crate::settings::Config;

/// Where something does not come, this is how long it is waited for.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Returns what is shared during a term, with this configuration. Every question (method, address, body) is answered with
/// a code and an object.
pub(crate) fn state(
    config: &str,
    answer: impl Fn(&State, &str, &str, Value) -> (u16, Value) + Clone + Send + Sync + 'static,
) -> Arc<State> {
    host::tls::install();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    fs_err::write(&file, config).unwrap();
    let (config, _) = Config::load(&file).unwrap();
    Arc::new_cyclic(|state: &Weak<State>| {
        let state = state.clone();
        let answer = move |method: &str, uri: &str, body: Value| {
            let state = state.upgrade().unwrap();
            answer(&state, method, uri, body)
        };
        State::new(Rollouts {
            client: api(answer),
            resolver: Resolver::new(config, Arc::new(NoTokens)).unwrap(),
            metrics: Metrics::new(&http::Metrics::default()),
            identity: "test".to_owned(),
        })
    })
}

fn api(
    answer: impl Fn(&str, &str, Value) -> (u16, Value) + Clone + Send + Sync + 'static,
) -> Client {
    let serve = move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let (code, object) = answer(parts.method.as_str(), &parts.uri.to_string(), body);
            let response = Response::builder().status(code);
            let body = Body::from(object.to_string().into_bytes());
            Ok::<_, Infallible>(response.body(body).unwrap())
        }
    };
    Client::new(tower::service_fn(serve), "default")
}

/// No hub answers there.
pub(crate) const NO_HUB: &str = "hub = \"http://127.0.0.1:1\"";

/// Returns an error as the API server says it.
pub(crate) fn error(code: u16, reason: &str) -> (u16, Value) {
    let status = serde_json::json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": reason, "code": code,
    });
    (code, status)
}

/// Returns what is looked at next.
pub(crate) async fn next(state: &State) -> Item {
    let next = tokio::time::timeout(LONG, state.queue.next()).await;
    next.expect("something is to be looked at")
}
