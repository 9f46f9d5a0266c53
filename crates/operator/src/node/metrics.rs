//! Gauges and counters for Prometheus, and the answers to health probes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::kubernetes::PrefetchState;
use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::state::State;

/// A program that has not looked for so long is stuck.
const STUCK: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Standing {
    state: &'static str,
}

/// The gauges.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    parts: Family<Part, Gauge>,
    prefetches: Family<Standing, Gauge>,
    pub(super) failed_writes: Counter,
    ready: AtomicBool,
    looked: watch::Sender<Instant>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("nival_node");
        let parts = Family::default();
        registry.register(
            "part_ready",
            "Whether a part of Nival on the node is in place",
            parts.clone(),
        );
        let prefetches = Family::default();
        registry.register(
            "prefetches",
            "Generations that the cluster asked for, by how their fetch stands",
            prefetches.clone(),
        );
        let failed_writes = Counter::default();
        registry.register(
            "failed_writes",
            "Attempts to tell the API server that failed",
            failed_writes.clone(),
        );
        Self {
            registry,
            parts,
            prefetches,
            failed_writes,
            ready: AtomicBool::new(false),
            looked: watch::Sender::new(Instant::now()),
        }
    }

    /// Takes over what was just seen.
    pub(super) fn set(&self, state: &State) {
        let seen = &state.seen;
        let parts = [
            ("installed", seen.not_installed.is_none()),
            ("runtime", seen.no_runtime.is_none()),
            ("agent", seen.no_agent.is_none()),
        ];
        for (part, ready) in parts {
            self.parts
                .get_or_create(&Part { part })
                .set(i64::from(ready));
        }
        let states = [
            ("fetching", PrefetchState::Fetching),
            ("done", PrefetchState::Done),
            ("failed", PrefetchState::Failed),
        ];
        for (name, kind) in states {
            let count = state
                .prefetch
                .iter()
                .filter(|one| one.state == kind)
                .count();
            self.prefetches
                .get_or_create(&Standing { state: name })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.ready
            .store(seen.problem().is_none(), Ordering::Relaxed);
        self.touch();
    }

    /// Takes note that somebody is still there to look.
    pub(super) fn touch(&self) {
        self.looked.send_replace(Instant::now());
    }
}

/// Serves until it is told to stop.
pub(super) async fn serve(metrics: Arc<Metrics>, listener: TcpListener, stop: CancellationToken) {
    let app = Router::new()
        .route("/metrics", get(text))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .with_state(metrics);
    let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "metrics and health are not served any more");
    }
}

async fn text(Shared(metrics): Shared<Arc<Metrics>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &metrics.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn health(Shared(metrics): Shared<Arc<Metrics>>) -> StatusCode {
    let looked = *metrics.looked.borrow();
    if looked.elapsed() > STUCK {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    }
}

async fn readiness(Shared(metrics): Shared<Arc<Metrics>>) -> StatusCode {
    if metrics.ready.load(Ordering::Relaxed) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}
