//! The webhooks' HTTP side.

use std::time::{Duration, Instant};

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;

use super::decide::{Judge, label};
use super::review::{Question, Request, Verdict};
use crate::http::Metrics;

/// The API server takes objects of three megabytes at most, and sends two of them.
const LARGEST_BODY: usize = 8 << 20;

/// How long the API server waits unless it says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the API server adds to the address.
#[derive(Debug, Deserialize)]
struct Waiting {
    /// How long it waits: whole seconds, as `10s`.
    timeout: Option<String>,
}

impl Waiting {
    /// Returns how long questions to others may take, so that an answer is still in time.
    fn budget(&self) -> Duration {
        let seconds = self
            .timeout
            .as_deref()
            .and_then(|text| text.strip_suffix('s')?.parse().ok());
        // No webhook may take longer than half a minute.
        let timeout = seconds.map_or(TIMEOUT, |seconds: u64| {
            Duration::from_secs(seconds.clamp(1, 30))
        });
        timeout * 4 / 5
    }
}

/// What the API server asks for.
#[derive(Debug, Clone, Copy)]
enum Webhook {
    Mutate,
    Validate,
}

impl Webhook {
    /// Returns its name in logs and metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Mutate => "mutate",
            Self::Validate => "validate",
        }
    }
}

/// What every request needs.
#[derive(Debug, Clone)]
struct Desk {
    judge: Judge,
    metrics: Metrics,
}

/// Returns the webhooks.
pub(crate) fn router(judge: Judge, metrics: Metrics) -> Router {
    Router::new()
        .route(
            "/mutate",
            post(|desk, waiting, body| review(Webhook::Mutate, desk, waiting, body)),
        )
        .route(
            "/validate",
            post(|desk, waiting, body| review(Webhook::Validate, desk, waiting, body)),
        )
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(Desk { judge, metrics })
}

async fn review(
    webhook: Webhook,
    State(desk): State<Desk>,
    Query(waiting): Query<Waiting>,
    body: Result<Json<Question>, JsonRejection>,
) -> Response {
    let request = match request(body) {
        Ok(request) => request,
        Err(refusal) => return refusal.into_response(),
    };
    let begun = Instant::now();
    let (judge, budget) = (&desk.judge, waiting.budget());
    let verdict = match webhook {
        Webhook::Mutate => judge.mutate(&request, budget).await,
        Webhook::Validate => judge.validate(&request, budget).await,
    };
    desk.answer(webhook.name(), &request, verdict, begun)
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
fn request(body: Result<Json<Question>, JsonRejection>) -> Result<Request, (StatusCode, String)> {
    let Json(question) =
        body.map_err(|rejection| (rejection.status(), format!("{}\n", rejection.body_text())))?;
    question
        .request()
        .map_err(|reason| (StatusCode::BAD_REQUEST, format!("{reason}\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_leaves_in_time_for_the_api_server() {
        let budget = |timeout: Option<&str>| {
            let timeout = timeout.map(str::to_owned);
            Waiting { timeout }.budget().as_millis()
        };
        assert_eq!(budget(None), 8_000);
        assert_eq!(budget(Some("10s")), 8_000);
        assert_eq!(budget(Some("5s")), 4_000);
        assert_eq!(budget(Some("0s")), 800);
        assert_eq!(budget(Some("99999s")), 24_000);
        for strange in ["", "s", "-3s", "1h", "é"] {
            assert_eq!(budget(Some(strange)), 8_000, "{strange}");
        }
    }
}
