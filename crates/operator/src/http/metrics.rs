//! Counters for Prometheus.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// What memory has is answered within a millisecond; beyond ten seconds the API server has given up.
const BUCKETS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 8.0, 10.0];

/// How an admission ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    webhook: &'static str,
    outcome: &'static str,
    reason: &'static str,
}

/// The counters; clones count together.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Mutex<Registry>,
    admissions: Family<Outcome, Counter>,
    admission_seconds: Histogram,
    leader: Gauge,
    certificate_expiry: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("nival_operator");
        let admissions = Family::default();
        registry.register(
            "admissions",
            "Questions of the API server, by how they were answered",
            admissions.clone(),
        );
        let admission_seconds = Histogram::new(BUCKETS);
        registry.register_with_unit(
            "admission",
            "Time until a question was answered",
            Unit::Seconds,
            admission_seconds.clone(),
        );
        let leader = Gauge::default();
        registry.register(
            "leader",
            "Whether this replica leads the others",
            leader.clone(),
        );
        let certificate_expiry = Gauge::default();
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the certificate of the webhooks expires",
            certificate_expiry.clone(),
        );
        Self(Arc::new(Inner {
            registry: Mutex::new(registry),
            admissions,
            admission_seconds,
            leader,
            certificate_expiry,
        }))
    }
}

impl Metrics {
    /// Lets another part of the program add its own.
    pub(crate) fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self
            .0
            .registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn admitted(
        &self,
        webhook: &'static str,
        refused: Option<&'static str>,
        elapsed: Duration,
    ) {
        let outcome = Outcome {
            webhook,
            outcome: if refused.is_some() {
                "refused"
            } else {
                "admitted"
            },
            reason: refused.unwrap_or(""),
        };
        self.0.admissions.get_or_create(&outcome).inc();
        self.0.admission_seconds.observe(elapsed.as_secs_f64());
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.0.leader.set(i64::from(leads));
    }

    pub(crate) fn certificate_expires(&self, seconds: i64) {
        self.0.certificate_expiry.set(seconds);
    }

    pub(super) fn page(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        let registry = self
            .0
            .registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        encode(&mut page, &registry)?;
        Ok(page)
    }
}
