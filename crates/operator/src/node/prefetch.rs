//! Fetches that the cluster asks for: a few at a time, tried again until they are done or not asked for any more.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use api::kubernetes::{Prefetch, PrefetchState, PrefetchStatus};
use env_spec::Pin;
use host::error::one_line;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::agent::{Agent, AgentError, Told};

/// The agent loads many paths at once for each.
const AT_ONCE: usize = 2;
/// As many as the resource may have.
const MOST: usize = 256;
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What is known of one that was asked for.
#[derive(Debug, Default)]
struct Wish {
    /// Why it failed the last time.
    failure: Option<String>,
    failures: u32,
    /// When it may be tried again.
    not_before: Option<Instant>,
    running: Option<AbortHandle>,
}

/// All that were asked for.
#[derive(Debug)]
pub(super) struct Prefetches {
    agent: Agent,
    system: String,
    wishes: BTreeMap<String, Wish>,
    running: JoinSet<Result<(), AgentError>>,
    /// Those that have ended since they were looked at.
    ended: Vec<Ended>,
}

/// How a task ended.
type Ended = Result<(Id, Result<(), AgentError>), JoinError>;

impl Prefetches {
    pub(super) fn new(agent: Agent, system: String) -> Self {
        Self {
            agent,
            system,
            wishes: BTreeMap::new(),
            running: JoinSet::new(),
            ended: Vec::new(),
        }
    }

    /// Takes over what is asked for now. What is not asked for any more goes on in the agent, and nobody waits for it.
    pub(super) fn ask(&mut self, wishes: &[Prefetch]) {
        let wishes: Vec<&str> = wishes
            .iter()
            .take(MOST)
            .map(|wish| wish.generation.as_str())
            .collect();
        self.wishes.retain(|generation, wish| {
            let asked = wishes.contains(&generation.as_str());
            if let Some(task) = wish.running.as_ref().filter(|_| !asked) {
                task.abort();
            }
            asked
        });
        for generation in wishes {
            self.wishes.entry(generation.to_owned()).or_default();
        }
    }

    /// Waits until one ends; for ever where none runs. Nothing is lost when nobody waits any more.
    pub(super) async fn wait(&mut self) {
        match self.running.join_next_with_id().await {
            Some(ended) => self.ended.push(ended),
            None => std::future::pending().await,
        }
    }

    /// Takes over what has ended, starts what is due, and returns how all of it stands.
    pub(super) fn advance(&mut self, told: &Told, now: Instant) -> Vec<PrefetchStatus> {
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.ended.push(ended);
        }
        for ended in std::mem::take(&mut self.ended) {
            let (id, failure) = match ended {
                Ok((id, outcome)) => (id, outcome.err().map(|error| one_line(&error))),
                Err(error) => (error.id(), Some("its task ended before it".to_owned())),
            };
            let wish = self
                .wishes
                .iter_mut()
                .find(|(_, wish)| wish.running.as_ref().is_some_and(|task| task.id() == id));
            if let Some((generation, wish)) = wish {
                match failure {
                    // The agent waits only so long for a fetch, which goes on all the same.
                    Some(_) if told.fetches.contains_key(generation) => wish.goes_on(now),
                    failure => wish.ended(failure, now),
                }
            }
        }
        let mut due: VecDeque<String> = VecDeque::new();
        for (generation, wish) in &mut self.wishes {
            if told.generations.contains(generation) || wish.running.is_some() {
                continue;
            }
            if let Err(error) = generation.parse::<Pin>() {
                wish.failure = Some(one_line(&error));
            } else if wish.not_before.is_none_or(|time| time <= now) {
                due.push_back(generation.clone());
            }
        }
        while self.running.len() < AT_ONCE {
            let Some(generation) = due.pop_front() else {
                break;
            };
            self.start(&generation);
        }
        self.standing(told)
    }

    fn start(&mut self, generation: &str) {
        let (agent, system) = (self.agent.clone(), self.system.clone());
        let reference = generation.to_owned();
        let work = async move { agent.prefetch(&reference, &system).await };
        let task = self.running.spawn(work);
        if let Some(wish) = self.wishes.get_mut(generation) {
            wish.running = Some(task);
        }
    }

    fn standing(&self, told: &Told) -> Vec<PrefetchStatus> {
        let status = |(generation, wish): (&String, &Wish)| {
            let (bytes_done, bytes_total) =
                told.fetches.get(generation).copied().unwrap_or_default();
            let held = told.generations.contains(generation);
            let state = match &wish.failure {
                _ if held => PrefetchState::Done,
                Some(_) if wish.running.is_none() => PrefetchState::Failed,
                _ => PrefetchState::Fetching,
            };
            let message = wish
                .failure
                .clone()
                .filter(|_| state != PrefetchState::Done);
            PrefetchStatus {
                generation: generation.clone(),
                state,
                message: message.unwrap_or_default(),
                bytes_done,
                bytes_total,
            }
        };
        self.wishes.iter().map(status).collect()
    }
}

impl Wish {
    /// Asks again in a while what came of it.
    fn goes_on(&mut self, now: Instant) {
        *self = Self {
            not_before: Some(now + FIRST_PAUSE),
            ..Self::default()
        };
    }

    fn ended(&mut self, failure: Option<String>, now: Instant) {
        self.running = None;
        self.failure = failure;
        if self.failure.is_some() {
            let doubled = FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(10));
            self.not_before = Some(now + doubled.min(LONGEST_PAUSE));
            self.failures = self.failures.saturating_add(1);
        } else {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: &str =
        "acme/api:1@sha256:0000000000000000000000000000000000000000000000000000000000000000";

    fn wish(generation: &str) -> Prefetch {
        Prefetch {
            generation: generation.to_owned(),
        }
    }

    fn prefetches() -> (tempfile::TempDir, Prefetches) {
        let folder = tempfile::tempdir().unwrap();
        let agent = Agent::new(&folder.path().join("agent.sock"));
        (folder, Prefetches::new(agent, "x86_64-linux".to_owned()))
    }

    #[tokio::test]
    async fn a_failed_one_is_told_and_tried_again_later() {
        let (_folder, mut prefetches) = prefetches();
        prefetches.ask(&[wish(PIN)]);
        let begin = Instant::now();
        let told = Told::default();
        let state = |prefetches: &mut Prefetches, now| prefetches.advance(&told, now)[0].clone();
        assert_eq!(state(&mut prefetches, begin).state, PrefetchState::Fetching);
        // Nobody listens there, so that ends at once.
        prefetches.wait().await;
        let status = state(&mut prefetches, begin);
        assert_eq!(status.state, PrefetchState::Failed);
        assert!(status.message.contains("does not answer"), "{status:?}");
        let soon = begin + FIRST_PAUSE / 2;
        assert_eq!(state(&mut prefetches, soon).state, PrefetchState::Failed);
        let later = begin + FIRST_PAUSE;
        assert_eq!(state(&mut prefetches, later).state, PrefetchState::Fetching);
    }

    #[tokio::test]
    async fn one_that_is_held_is_done_and_one_that_is_no_pin_fails_at_once() {
        let (_folder, mut prefetches) = prefetches();
        prefetches.ask(&[wish(PIN), wish("nonsense")]);
        let told = Told {
            generations: vec![PIN.to_owned()],
            ..Told::default()
        };
        let states = prefetches.advance(&told, Instant::now());
        assert_eq!(states[0].state, PrefetchState::Done);
        assert_eq!(states[1].state, PrefetchState::Failed);
        assert!(prefetches.running.is_empty());
        prefetches.ask(&[]);
        assert_eq!(prefetches.advance(&told, Instant::now()), []);
    }
}
