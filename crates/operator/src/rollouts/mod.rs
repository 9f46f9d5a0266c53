//! Rollouts: workloads that track an environment get its new generations, and the old ones back when that fails.
//!
//! ```text
//!  watches ──▶ index ──▶ queue ──▶ workers ─┬─▶ act (workloads): decide, then one patch, then events
//!  hub ──────▶   │                          ├─▶ environments: their resources and states
//!                └── answers, wants         └─▶ nodes: what they are asked to fetch
//! ```

mod act;
pub(crate) mod decide;
pub(crate) mod index;
mod nodes;
pub(crate) mod patch;
mod pods;
mod pointers;
mod progress;
mod queue;
mod reason;
#[cfg(test)]
pub(crate) mod scene;
pub(crate) mod seen;
mod told;
mod watching;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use host::error::one_line;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use workload::names::OPERATOR;

use crate::environments;
use crate::http;
use crate::resolve::Resolver;
use index::{Index, Item};
use queue::Queue;
pub(crate) use told::Metrics;

/// How many things are looked at at once: each is a request or two, and the API server has others to serve.
const WORKERS: usize = 8;
/// How long changes of an environment's workloads are gathered before its state is written.
const GATHER: Duration = Duration::from_millis(500);
/// How many conflicts in a row are nothing to speak of.
const QUIET_CONFLICTS: u32 = 3;
/// How many kinds are watched.
const KINDS: usize = 9;

/// What all parts share during one term of leading.
pub(crate) struct State {
    pub(crate) client: Client,
    resolver: Resolver,
    recorder: Recorder,
    metrics: Metrics,
    queue: Queue<Item>,
    index: Mutex<Index>,
    /// Which environments are used may have changed.
    used_changed: Notify,
    listed: watch::Sender<BTreeSet<&'static str>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("State")
    }
}

/// The part of the operator that only the leader does.
#[derive(Clone)]
pub(crate) struct Rollouts {
    client: Client,
    resolver: Resolver,
    metrics: Metrics,
    identity: String,
}

impl std::fmt::Debug for Rollouts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Rollouts({})", self.identity)
    }
}

impl Rollouts {
    /// Returns it, with its counters on the program's page.
    pub(crate) fn new(
        client: Client,
        resolver: Resolver,
        page: &http::Metrics,
        identity: String,
    ) -> Self {
        Self {
            client,
            resolver,
            metrics: Metrics::new(page),
            identity,
        }
    }

    /// Does it until told to stop. Whatever was under way is in the cluster, so whoever leads next goes on with it.
    pub(crate) async fn lead(self, stop: CancellationToken) {
        let state = Arc::new(State::new(self));
        let workers = async {
            // What a list has not named yet is not gone: nothing is done before all are known.
            let mut listed = state.listed.subscribe();
            if listed
                .wait_for(|listed| listed.len() == KINDS)
                .await
                .is_err()
            {
                return;
            }
            tracing::info!("the cluster's workloads are known");
            let workers = (0..WORKERS).map(|_| work(&state));
            futures::future::join_all(workers).await;
        };
        let all = async {
            tokio::join!(watching::watch(&state), pointers::follow(&state), workers);
        };
        stop.run_until_cancelled(Box::pin(all)).await;
        Metrics::count((0, 0), &state.metrics);
    }
}

impl State {
    fn new(rollouts: Rollouts) -> Self {
        let reporter = Reporter {
            controller: OPERATOR.to_owned(),
            instance: Some(rollouts.identity),
        };
        Self {
            recorder: Recorder::new(rollouts.client.clone(), reporter),
            client: rollouts.client,
            resolver: rollouts.resolver,
            metrics: rollouts.metrics,
            queue: Queue::new(),
            index: Mutex::default(),
            used_changed: Notify::new(),
            listed: watch::Sender::new(BTreeSet::new()),
        }
    }

    /// Looks into the index, or changes it; nothing is waited for meanwhile.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Index) -> T) -> T {
        work(&mut self.index.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what a write answered, or that nothing is there any more, if it is about what is known just now: what the
    /// watch said to be gone meanwhile must not come back, since it says so only once.
    pub(crate) fn take(
        &self,
        is_known: impl FnOnce(&Index) -> bool,
        put: impl FnOnce(&mut Index) -> Vec<Item>,
    ) {
        let items = self.with(|index| match is_known(index) {
            true => put(index),
            false => Vec::new(),
        });
        self.look_at(items);
    }

    /// Asks for looks at what a change has touched.
    pub(crate) fn look_at(&self, items: Vec<Item>) {
        let mut environments = false;
        for item in items {
            let delay = match &item {
                Item::Environment(..) => {
                    environments = true;
                    GATHER
                }
                Item::Workload(_) | Item::Node(_) => Duration::ZERO,
            };
            self.queue.add(item, delay);
        }
        if environments {
            let counts = self.with(|index| index.counts());
            Metrics::count(counts, &self.metrics);
            self.used_changed.notify_one();
        }
    }

    fn listed(&self, what: &'static str) {
        self.listed.send_modify(|listed| {
            listed.insert(what);
        });
    }
}

async fn work(state: &State) {
    loop {
        let item = state.queue.next().await;
        let (what, result) = match &item {
            Item::Workload(key) => (key.kind.name(), act::look(state, key).await),
            Item::Environment(namespace, environment) => {
                let looked = environments::look(state, namespace, environment).await;
                ("Environment", looked)
            }
            Item::Node(name) => ("NivalNode", nodes::ask(state, name).await),
        };
        match result {
            Ok(()) => state.queue.done(&item),
            Err(error) => {
                let failures = state.queue.failed(&item);
                // Another was quicker, and what it changed is on its way here.
                if is_conflict(&error) && failures <= QUIET_CONFLICTS {
                    continue;
                }
                state.metrics.errors.count("reconcile", what);
                tracing::warn!(
                    ?item,
                    error = one_line(&error),
                    "the look failed; it is tried again"
                );
            }
        }
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
