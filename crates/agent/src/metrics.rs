//! Counters for Prometheus, and the answers to health probes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::leases::Lease;

/// Warm starts take a millisecond, cold ones up to minutes.
const BUCKETS: [f64; 12] = [
    0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0,
];

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    method: &'static str,
    outcome: &'static str,
}

/// The counters.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    prepare_seconds: Histogram,
    fetched: Gauge,
    store_paths: Gauge,
    store_bytes: Gauge,
    leases: Gauge,
    fetches: Gauge,
    revoked: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("nival_agent");
        let requests = Family::default();
        registry.register(
            "requests",
            "Requests of shims and people, by how they ended",
            requests.clone(),
        );
        let prepare_seconds = Histogram::new(BUCKETS);
        registry.register_with_unit(
            "prepare",
            "Time until an environment was ready",
            Unit::Seconds,
            prepare_seconds.clone(),
        );
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let fetched = gauge(
            "fetched_bytes",
            "Bytes read from binary caches since the start",
        );
        let store_paths = gauge("store_paths", "Store paths that are present");
        let store_bytes = gauge("store_nar_bytes", "The sum of their NAR sizes");
        let leases = gauge("leases", "Containers and sandboxes that use an environment");
        let fetches = gauge("fetches", "Fetches that are under way");
        let revoked = gauge(
            "revoked_leases",
            "Containers and sandboxes that use an environment which was revoked since",
        );
        Self {
            registry,
            requests,
            prepare_seconds,
            fetched,
            store_paths,
            store_bytes,
            leases,
            fetches,
            revoked,
        }
    }
}

impl Metrics {
    pub(crate) fn count(&self, method: &'static str, outcome: &'static str) {
        self.requests
            .get_or_create(&Outcome { method, outcome })
            .inc();
    }

    pub(crate) fn prepared(&self, elapsed: Duration) {
        self.prepare_seconds.observe(elapsed.as_secs_f64());
    }

    fn page(&self, agent: &Agent) -> Result<String, fmt::Error> {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let (paths, bytes) = agent.store.totals();
        self.fetched.set(number(agent.fetches.bytes()));
        self.store_paths.set(number(paths));
        self.store_bytes.set(number(bytes));
        self.leases.set(number(agent.leases.count() as u64));
        self.fetches
            .set(number(agent.fetches.running().len() as u64));
        let leases = agent.leases.all().into_iter();
        let is_revoked = |lease: &Lease| {
            let mut holds = lease.holds.iter();
            holds.any(|hold| agent.revocations.is_revoked(&hold.pin))
        };
        self.revoked
            .set(number(leases.filter(is_revoked).count() as u64));
        let mut page = String::new();
        encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

/// Serves metrics and probes until told to stop.
pub(crate) async fn serve(
    agent: Arc<Agent>,
    listener: TcpListener,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .with_state(agent);
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

async fn metrics(State(agent): State<Arc<Agent>>) -> Response {
    match agent.metrics.page(&agent) {
        Ok(page) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], page).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn healthy() -> &'static str {
    "ok\n"
}

/// Ready means that a container can be started: the socket is there and the store can be written.
async fn ready(State(agent): State<Arc<Agent>>) -> Response {
    let probe = agent.settings.state.join(".ready");
    let written = tokio::task::spawn_blocking(move || fs_err::write(probe, "ready\n")).await;
    match written {
        Ok(Ok(())) if agent.settings.socket.exists() => "ready\n".into_response(),
        Ok(Ok(())) => (StatusCode::SERVICE_UNAVAILABLE, "the socket is gone\n").into_response(),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}
