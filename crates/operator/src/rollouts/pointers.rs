//! What the hub says is live: one waiter per environment, however many workloads and namespaces use it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use env_spec::generation::LivePointer;
use env_spec::{EnvironmentName, Reference};
use host::error::one_line;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use super::State;
use super::decide::Live;
use super::index::{Answer, Index, Trouble};
use crate::resolve::ResolveError;

/// How many waiters may wait at the hub at once.
const MOST_WAITERS: usize = 256;
/// How long one waits there before it asks anew.
const WAIT: Duration = Duration::from_secs(50);
/// How often the hub is asked for an environment that nobody tracks: its state is shown, nothing else.
const GLANCE: Duration = Duration::from_secs(60);
/// How long a waiter rests after an error; each further one twice as long.
const FIRST_REST: Duration = Duration::from_secs(1);
/// And how long at most.
const LAST_REST: Duration = Duration::from_secs(60);

/// A waiter that runs.
struct Waiter {
    task: JoinHandle<()>,
    /// Wakes it when other namespaces use its environment, or it is tracked for the first time.
    wake: Arc<Notify>,
    namespaces: Vec<String>,
    tracked: bool,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Keeps a waiter for every environment that is used, until the future is dropped.
pub(super) async fn follow(state: &Arc<State>) {
    let mut waiters: BTreeMap<EnvironmentName, Waiter> = BTreeMap::new();
    let places = Arc::new(Semaphore::new(MOST_WAITERS));
    loop {
        let used = state.with(|index| index.used());
        waiters.retain(|environment, _| used.contains_key(environment));
        for (environment, (namespaces, tracked)) in used {
            if let Some(waiter) = waiters.get_mut(&environment) {
                let news = waiter.namespaces != namespaces || (tracked && !waiter.tracked);
                waiter.namespaces = namespaces;
                waiter.tracked = tracked;
                if news {
                    waiter.wake.notify_one();
                }
                continue;
            }
            let wake = Arc::new(Notify::new());
            let one = One {
                state: Arc::clone(state),
                environment: environment.clone(),
                places: Arc::clone(&places),
                wake: Arc::clone(&wake),
            };
            let waiter = Waiter {
                task: tokio::spawn(one.run(None)),
                wake,
                namespaces,
                tracked,
            };
            waiters.insert(environment, waiter);
        }
        state.used_changed.notified().await;
    }
}

/// Why nobody got an answer.
#[derive(Default)]
struct Refused {
    /// What was said to one namespace, and is no other's business.
    own: BTreeMap<String, ResolveError>,
    /// Why the hub answers nobody just now.
    shared: Option<ResolveError>,
}

/// Tells whether an error is the hub's own trouble, whoever asks; trouble with a credential is that of a namespace.
fn is_the_hubs(error: &ResolveError) -> bool {
    error.is_transient() && !matches!(error, ResolveError::Credential { .. })
}

/// One environment's waiter.
struct One {
    state: Arc<State>,
    environment: EnvironmentName,
    places: Arc<Semaphore>,
    wake: Arc<Notify>,
}

impl One {
    async fn run(self, mut newest: Option<LivePointer>) {
        let mut rest = FIRST_REST;
        loop {
            let used = self.state.with(|index| index.used());
            let count = used.len();
            let Some((namespaces, tracked)) = used.get(&self.environment).cloned() else {
                return;
            };
            let asked = tokio::select! {
                asked = self.ask(&namespaces, newest.as_ref(), tracked, count) => asked,
                // Those who have come do not wait until the hub has news.
                () = self.wake.notified(), if newest.is_some() => {
                    self.tell(&self.namespaces(), newest.as_ref()).await;
                    continue;
                }
            };
            match asked {
                Ok(pointer) => {
                    rest = FIRST_REST;
                    newest = pointer.or(newest);
                    self.tell(&namespaces, newest.as_ref()).await;
                    if !tracked {
                        self.rest(GLANCE).await;
                    }
                }
                Err(refused) => {
                    if let Some(error) = refused.shared.as_ref().or(refused.own.values().last()) {
                        self.state.metrics.errors.hub(error.reason());
                        tracing::warn!(environment = %self.environment, error = one_line(error), "the hub gave no live pointer");
                    }
                    for namespace in &namespaces {
                        self.tell_refused(namespace, &refused);
                    }
                    self.rest(rest).await;
                    rest = (rest * 2).min(LAST_REST);
                }
            }
        }
    }

    /// Returns who uses the environment now.
    fn namespaces(&self) -> Vec<String> {
        let mut used = self.state.with(|index| index.used());
        let own = used.remove(&self.environment);
        own.map(|(namespaces, _)| namespaces).unwrap_or_default()
    }

    async fn rest(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.wake.notified() => {}
        }
    }

    /// Waits for a pointer after the newest, with the way of the first namespace that has one.
    async fn ask(
        &self,
        namespaces: &[String],
        newest: Option<&LivePointer>,
        tracked: bool,
        count: usize,
    ) -> Result<Option<LivePointer>, Refused> {
        let after = newest.map_or(0, |pointer| pointer.sequence);
        // Where more wait than may, each waits for a shorter time, so that all have their turn.
        let share = u32::try_from(count.div_ceil(MOST_WAITERS)).unwrap_or(u32::MAX);
        let wait = match newest {
            Some(_) if tracked => WAIT / share.max(1),
            _ => Duration::ZERO,
        };
        let _place = self.places.acquire().await;
        let mut refused = Refused::default();
        for namespace in namespaces {
            let asked = self
                .state
                .resolver
                .live_after(namespace, &self.environment, after, wait);
            match asked.await {
                Ok(pointer) => return Ok(pointer),
                Err(error) if is_the_hubs(&error) => {
                    refused.shared = Some(error);
                    return Err(refused);
                }
                // What one namespace may not see, another may.
                Err(error) => {
                    refused.own.insert(namespace.clone(), error);
                }
            }
        }
        match refused.own.is_empty() {
            true => Ok(None),
            false => Err(refused),
        }
    }

    /// Tells each namespace what is live, as far as policy and signatures let it know.
    async fn tell(&self, namespaces: &[String], newest: Option<&LivePointer>) {
        let Some(pointer) = newest else {
            return;
        };
        let reference: Reference = pointer.pin().into();
        for namespace in namespaces {
            match self.state.resolver.resolve(namespace, &reference).await {
                Ok(resolved) => {
                    let answer = Answer {
                        live: Some(Live {
                            pin: resolved.pin,
                            sequence: pointer.sequence,
                            since: pointer.time.clone(),
                        }),
                        systems: resolved.systems,
                        trouble: None,
                    };
                    let put = |index: &mut Index| {
                        index.put_answer(namespace, &self.environment, Ok(answer))
                    };
                    self.state.look_at(self.state.with(put));
                }
                Err(error) => self.refuse(namespace, &error),
            }
        }
    }

    /// Tells a namespace why there is no answer: in its own words, or in those that all may hear whom policy lets in.
    fn tell_refused(&self, namespace: &str, refused: &Refused) {
        let policy = || {
            self.state
                .resolver
                .check_policy(namespace, &self.environment)
        };
        match (refused.own.get(namespace), &refused.shared) {
            (Some(own), _) => self.refuse(namespace, own),
            (None, Some(shared)) => match policy() {
                Ok(()) => self.refuse(namespace, shared),
                Err(denied) => self.refuse(namespace, &denied),
            },
            (None, None) => {}
        }
    }

    fn refuse(&self, namespace: &str, error: &ResolveError) {
        let trouble = Trouble {
            reason: error.reason(),
            message: one_line(error),
            lasting: !error.is_transient(),
        };
        let put = |index: &mut Index| index.put_answer(namespace, &self.environment, Err(trouble));
        self.state.look_at(self.state.with(put));
    }
}

#[cfg(test)]
mod tests;
