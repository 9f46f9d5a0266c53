//! What is told of rollouts: events on the workload, and counters.

use std::fmt;
use std::time::Duration;

use host::error::one_line;
use kube::runtime::events::{Event, EventType, Recorder};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use workload::rollout::Memory;

use super::decide::News;
use super::patch::{changes, short};
use super::seen::{Key, Workload};
use crate::http::Metrics as Registered;

/// From a CronJob, which is done at once, to a large StatefulSet.
const BUCKETS: [f64; 10] = [
    1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0,
];
/// The API server takes notes up to a kilobyte, and actions up to 128 bytes.
const LONGEST_NOTE: usize = 1000;
const LONGEST_ACTION: usize = 120;

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Where something failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct At {
    /// `watch`, `workload`, `environment`, `node` or `hub`.
    what: &'static str,
    /// The kind of object, or the reason in one word.
    kind: &'static str,
}

/// Counters of failures.
#[derive(Clone, Default)]
pub(crate) struct Errors(Family<At, Counter>);

/// The counters of rollouts; clones count together.
#[derive(Clone)]
pub(crate) struct Metrics {
    rollouts: Family<Outcome, Counter>,
    seconds: Histogram,
    workloads: Gauge,
    tracked: Gauge,
    pub(super) errors: Errors,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics")
    }
}

impl Errors {
    pub(super) fn watch(&self, kind: &'static str) {
        self.count("watch", kind);
    }

    pub(super) fn hub(&self, reason: &'static str) {
        self.count("hub", reason);
    }

    pub(super) fn count(&self, what: &'static str, kind: &'static str) {
        self.0.get_or_create(&At { what, kind }).inc();
    }
}

impl Metrics {
    /// Returns counters that are on the program's page.
    pub(crate) fn new(page: &Registered) -> Self {
        let metrics = Self {
            rollouts: Family::default(),
            seconds: Histogram::new(BUCKETS),
            workloads: Gauge::default(),
            tracked: Gauge::default(),
            errors: Errors::default(),
        };
        page.register(|registry| metrics.register(registry));
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "rollouts",
            "Rollouts of new generations, by how they ended",
            self.rollouts.clone(),
        );
        registry.register(
            "rollout_seconds",
            "Time from when a moved pointer was seen until all pods ran its generation",
            self.seconds.clone(),
        );
        registry.register(
            "workloads",
            "Workloads that run in environments",
            self.workloads.clone(),
        );
        registry.register(
            "workloads_tracked",
            "Workloads that get new generations by themselves",
            self.tracked.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Looks that failed and are tried again, by what was looked at",
            self.errors.0.clone(),
        );
    }

    /// Says how many workloads there are.
    pub(super) fn count((all, tracked): (usize, usize), metrics: &Self) {
        metrics
            .workloads
            .set(i64::try_from(all).unwrap_or(i64::MAX));
        metrics
            .tracked
            .set(i64::try_from(tracked).unwrap_or(i64::MAX));
    }

    /// Counts what ended.
    pub(super) fn tell(&self, news: News, memory: &Memory) {
        let outcome = match news {
            News::Prefetching | News::RollingOut => return,
            News::RolledOut => "complete",
            News::RolledBack => "rolled-back",
            News::Held => "held",
        };
        self.rollouts.get_or_create(&Outcome { outcome }).inc();
        let took = memory
            .ended_at
            .map(|end| end.duration_since(memory.started_at));
        if let Some(took) = took.filter(|_| news == News::RolledOut) {
            let took = Duration::try_from(took).unwrap_or_default();
            self.seconds.observe(took.as_secs_f64());
        }
    }
}

/// Tells a workload's readers what was done.
pub(super) async fn tell(
    recorder: &Recorder,
    key: &Key,
    workload: &Workload,
    news: News,
    memory: &Memory,
) {
    let (reason, note) = words(workload, news, memory);
    let type_ = match news {
        News::RolledBack | News::Held => EventType::Warning,
        News::Prefetching | News::RollingOut | News::RolledOut => EventType::Normal,
    };
    publish(recorder, key, workload, type_, reason, &note, memory).await;
}

/// Tells them that a pod was deleted, and why.
pub(super) async fn tell_unblocked(
    recorder: &Recorder,
    key: &Key,
    workload: &Workload,
    pod: &str,
    memory: &Memory,
) {
    let note =
        format!("deleted pod {pod}: it did not become ready and kept the pods from being replaced");
    publish(
        recorder,
        key,
        workload,
        EventType::Normal,
        "PodDeleted",
        &note,
        memory,
    )
    .await;
}

async fn publish(
    recorder: &Recorder,
    key: &Key,
    workload: &Workload,
    type_: EventType,
    reason: &str,
    note: &str,
    memory: &Memory,
) {
    // Events that differ in nothing else are put together under the first one's note: the target tells them apart.
    let action = format!("{reason} {}", targets(memory));
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note.chars().take(LONGEST_NOTE / 2).collect()),
        action: action.chars().take(LONGEST_ACTION).collect(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &key.reference(workload)).await {
        // What was done is in the workload itself; only its telling is lost.
        tracing::warn!(
            workload = key.said(),
            error = one_line(&error),
            "an event was not written"
        );
    }
}

fn targets(memory: &Memory) -> String {
    let pins = memory.environments.values().map(|step| short(&step.to));
    pins.collect::<Vec<_>>().join(" ")
}

fn words(workload: &Workload, news: News, memory: &Memory) -> (&'static str, String) {
    let changes = changes(memory);
    let took = memory
        .ended_at
        .map(|end| end.duration_since(memory.started_at).as_secs().max(0));
    match news {
        News::Prefetching => {
            let mut message = format!("nodes fetch {}", targets(memory));
            for doubt in &workload.doubts {
                message += "; ";
                message += doubt;
            }
            ("Prefetching", message)
        }
        News::RollingOut => ("RollingOut", format!("rolling out {changes}")),
        News::RolledOut => (
            "RolledOut",
            format!(
                "all pods run {}, {}s after it was live",
                targets(memory),
                took.unwrap_or(0)
            ),
        ),
        News::RolledBack => (
            "RolledBack",
            format!(
                "rolled back {changes}: {}; held until the live generation changes",
                memory.reason
            ),
        ),
        News::Held => (
            "Held",
            format!(
                "{changes} is held: {}, until the live generation changes",
                memory.reason
            ),
        ),
    }
}
