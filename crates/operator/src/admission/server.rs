//! The webhooks' HTTP side.

use std::time::Instant;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};

use super::decide::{Judge, label};
use super::review::{Question, Request, Verdict};
use crate::http::Metrics;

/// The API server takes objects of three megabytes at most, and sends two of them.
const LARGEST_BODY: usize = 8 << 20;

/// What every request needs.
#[derive(Debug, Clone)]
struct Desk {
    judge: Judge,
    metrics: Metrics,
}

/// Returns the webhooks.
pub(crate) fn router(judge: Judge, metrics: Metrics) -> Router {
    Router::new()
        .route("/mutate", post(mutate))
        .route("/validate", post(validate))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(Desk { judge, metrics })
}

async fn mutate(State(desk): State<Desk>, body: Result<Json<Question>, JsonRejection>) -> Response {
    let request = match request(body) {
        Ok(request) => request,
        Err(response) => return response,
    };
    let begun = Instant::now();
    let verdict = desk.judge.mutate(&request).await;
    desk.answer("mutate", &request, verdict, begun)
}

async fn validate(
    State(desk): State<Desk>,
    body: Result<Json<Question>, JsonRejection>,
) -> Response {
    let request = match request(body) {
        Ok(request) => request,
        Err(response) => return response,
    };
    let begun = Instant::now();
    let verdict = desk.judge.validate(&request).await;
    desk.answer("validate", &request, verdict, begun)
}

impl Desk {
    fn answer(
        &self,
        webhook: &'static str,
        request: &Request,
        verdict: Verdict,
        begun: Instant,
    ) -> Response {
        let reason = verdict.refusal.as_ref().map(|refusal| refusal.reason);
        self.metrics.admitted(webhook, reason, begun.elapsed());
        if let Some(refusal) = &verdict.refusal {
            tracing::info!(
                webhook,
                namespace = request.namespace,
                object = label(request),
                refusal.message,
                "refused"
            );
        } else {
            tracing::debug!(
                webhook,
                namespace = request.namespace,
                object = label(request),
                "admitted"
            );
        }
        Json(verdict.answer(request)).into_response()
    }
}

/// Whoever sends something else is no API server, and gets no review back.
fn request(body: Result<Json<Question>, JsonRejection>) -> Result<Request, Response> {
    let Json(question) = body.map_err(|rejection| {
        (rejection.status(), format!("{}\n", rejection.body_text())).into_response()
    })?;
    question
        .request()
        .map_err(|reason| (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response())
}
