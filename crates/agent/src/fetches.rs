//! Fetches that are under way. They belong to the agent, not to who asked: a caller may go away and come back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use env_spec::Pin;
use env_spec::generation::ClosurePath;
use store::{ClosureId, FetchError, FetchOutcome, Progress, Source, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::AgentError;

type Outcome = Result<FetchOutcome, Arc<FetchError>>;

/// All fetches.
#[derive(Debug)]
pub(crate) struct Fetches {
    store: Store,
    running: Arc<Mutex<BTreeMap<ClosureId, Arc<Fetch>>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    bytes: Arc<AtomicU64>,
}

/// One fetch.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) pin: Pin,
    /// `owner/name:number`, for people.
    generation: String,
    pub(crate) progress: Arc<Progress>,
    done: watch::Receiver<Option<Outcome>>,
}

/// What to fetch.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) pin: Pin,
    /// `owner/name:number`, for people.
    pub(crate) generation: String,
    pub(crate) closure: Vec<ClosurePath>,
    pub(crate) sources: Vec<Source>,
}

impl Fetches {
    pub(crate) fn new(store: Store, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            store,
            running: Arc::default(),
            tasks,
            stop,
            bytes: Arc::default(),
        }
    }

    /// Waits until a closure is present, fetching it unless somebody does already, at most for this long.
    ///
    /// `after` runs when the fetch has succeeded, whether or not anybody still waits.
    pub(crate) async fn fetch(
        &self,
        wanted: Wanted,
        wait: Duration,
        after: impl FnOnce() + Send + 'static,
    ) -> Result<FetchOutcome, AgentError> {
        let fetch = self.join(wanted, after);
        let mut done = fetch.done.clone();
        let ended = tokio::time::timeout(wait, done.wait_for(Option::is_some)).await;
        let outcome = match ended {
            Ok(Ok(outcome)) => outcome.clone(),
            // The task was dropped without an answer: the agent is stopping.
            Ok(Err(_)) => return Err(AgentError::Stopping),
            Err(_) => {
                let (generation, progress) = (fetch.generation.clone(), fetch.progress.view());
                return Err(AgentError::Fetching {
                    generation,
                    progress,
                });
            }
        };
        let outcome = outcome.expect("waited for until it is there");
        outcome.map_err(|source| AgentError::Fetch {
            generation: fetch.generation.clone(),
            source,
        })
    }

    /// Returns the fetches that are under way.
    pub(crate) fn running(&self) -> Vec<Arc<Fetch>> {
        self.lock().values().cloned().collect()
    }

    /// Returns how many bytes came from sources since the start.
    pub(crate) fn bytes(&self) -> u64 {
        let running: u64 = self
            .lock()
            .values()
            .map(|fetch| fetch.progress.view().downloaded)
            .sum();
        self.bytes.load(Ordering::Relaxed) + running
    }

    fn join(&self, wanted: Wanted, after: impl FnOnce() + Send + 'static) -> Arc<Fetch> {
        let id = ClosureId::of(&wanted.closure);
        let mut running = self.lock();
        if let Some(fetch) = running.get(&id) {
            return Arc::clone(fetch);
        }
        let (sender, done) = watch::channel(None);
        // Whoever waits for nothing is told how much there is, too.
        let progress = Arc::new(Progress::before(&wanted.closure));
        let fetch = Arc::new(Fetch {
            pin: wanted.pin,
            generation: wanted.generation,
            progress: Arc::clone(&progress),
            done,
        });
        running.insert(id, Arc::clone(&fetch));
        drop(running);
        let (store, stop) = (self.store.clone(), self.stop.clone());
        let (all, bytes) = (Arc::clone(&self.running), Arc::clone(&self.bytes));
        let generation = fetch.generation.clone();
        self.tasks.spawn(async move {
            tracing::info!(generation, paths = wanted.closure.len(), "fetching");
            let begun = std::time::Instant::now();
            // Between the fetch and whatever `after` notes, the collector must not come.
            let _protection = store.protect(&wanted.closure);
            let outcome = tokio::select! {
                outcome = store::realise(&store, &wanted.closure, &wanted.sources, &progress) => Some(outcome.map_err(Arc::new)),
                () = stop.cancelled() => None,
            };
            match &outcome {
                Some(Ok(done)) => {
                    tracing::info!(generation, paths = done.paths_fetched, bytes = done.download_bytes, elapsed = ?begun.elapsed(), "fetched");
                    after();
                }
                Some(Err(error)) => tracing::warn!(generation, error = host::error::one_line(error), "not fetched"),
                None => {}
            }
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.remove(&id);
            bytes.fetch_add(progress.view().downloaded, Ordering::Relaxed);
            drop(all);
            if let Some(outcome) = outcome {
                // Nobody may be waiting any more.
                sender.send(Some(outcome)).ok();
            }
        });
        fetch
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ClosureId, Arc<Fetch>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
