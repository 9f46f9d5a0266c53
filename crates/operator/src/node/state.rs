//! What a node is told to be: ready, not ready, or without Nival; and what of it goes into its resource.

use std::time::Duration;

use api::kubernetes::{NivalNodeStatus, NodeState, PrefetchStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use tokio::time::Instant;

use super::look::Seen;

/// How long pods may still be sent to a node where something is missing: an agent that restarts is back by then.
const GRACE: Duration = Duration::from_secs(15);

/// The reason of a node that containerd's handler stays on, because pods run by it.
pub(crate) const PODS_LEFT: &str = "PodsLeft";

/// How far taking Nival off the node is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Removal {
    /// Nobody asked for it.
    #[default]
    No,
    /// It is under way.
    Begun,
    /// It was tried and failed, and is tried again.
    Failed(String),
    /// It is over; the text tells what stays.
    Done(Option<String>),
}

impl Removal {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

/// Everything that is said about the node.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    pub(super) seen: Seen,
    pub(super) prefetch: Vec<PrefetchStatus>,
    pub(super) removal: Removal,
    /// Whether pods may be sent here; none as long as that is not known.
    pub(super) labelled: Option<bool>,
}

/// Decides whether pods may be sent to a node.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    /// Since when something is missing.
    missing_since: Option<Instant>,
}

impl Readiness {
    /// Returns whether the node has the label, after what was just seen; none while that has to show.
    pub(super) fn label(&mut self, ready: bool, now: Instant) -> Option<bool> {
        if ready {
            self.missing_since = None;
            return Some(true);
        }
        let since = *self.missing_since.get_or_insert(now);
        (now.duration_since(since) >= GRACE).then_some(false)
    }
}

impl State {
    /// Returns the state as the resource has it. `before` holds the conditions that were written last.
    pub(super) fn status(&self, system: &str, before: &[Condition]) -> NivalNodeStatus {
        let (state, reason, message) = self.verdict();
        let told = self.seen.agent.clone().unwrap_or_default();
        let conditions = [
            ("Installed", &self.seen.not_installed),
            ("RuntimeReady", &self.seen.no_runtime),
            ("AgentReady", &self.seen.no_agent),
        ];
        let removed = self.removal.is_done();
        let conditions = conditions.map(|(kind, problem)| {
            let problem = problem.clone();
            let gone = || ("Removed", "Nival was taken off this node".to_owned());
            condition(kind, problem.or_else(|| removed.then(gone)), before)
        });
        NivalNodeStatus {
            state,
            reason,
            message,
            system: system.to_owned(),
            agent_version: told.version,
            operator_version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime_version: self.seen.runtime_version.clone(),
            generation_count: u32::try_from(told.generations.len()).unwrap_or(u32::MAX),
            generations: told.generations,
            prefetch: self.prefetch.clone(),
            store_bytes: told.store_bytes,
            conditions: conditions.into(),
        }
    }

    fn verdict(&self) -> (NodeState, String, String) {
        let not_ready = |reason: &str, message: &str| {
            (NodeState::NotReady, reason.to_owned(), message.to_owned())
        };
        match (&self.removal, self.seen.problem()) {
            (Removal::Done(None), _) => {
                let message = "Nival was taken off this node".to_owned();
                (NodeState::Removed, "Removed".to_owned(), message)
            }
            (Removal::Done(Some(left)), _) => {
                (NodeState::Removed, PODS_LEFT.to_owned(), left.clone())
            }
            (Removal::Begun, _) => not_ready("Removing", "Nival is taken off this node"),
            (Removal::Failed(why), _) => not_ready("RemoveFailed", why),
            (Removal::No, Some((reason, message))) => not_ready(reason, message),
            (Removal::No, None) => {
                let message = "pods may run in environments here".to_owned();
                (NodeState::Ready, "Ready".to_owned(), message)
            }
        }
    }

    /// Tells whether two differ in more than in how far fetches are.
    pub(super) fn differs(&self, other: &Self) -> bool {
        let steady = |state: &Self| {
            let mut state = state.clone();
            for status in &mut state.prefetch {
                (status.bytes_done, status.bytes_total) = (0, 0);
            }
            if let Some(told) = &mut state.seen.agent {
                told.fetches.clear();
                told.store_bytes = 0;
            }
            state
        };
        steady(self) != steady(other)
    }
}

fn condition(
    kind: &str,
    problem: Option<(&'static str, String)>,
    before: &[Condition],
) -> Condition {
    let status = if problem.is_some() { "False" } else { "True" };
    let (reason, message) = problem.unwrap_or(("InPlace", String::new()));
    let same = before
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == status);
    let since = same.map(|condition| condition.last_transition_time.clone());
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: since.unwrap_or_else(|| Time(jiff::Timestamp::now())),
        observed_generation: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_outlives_a_restart_of_the_agent_and_no_more() {
        let mut readiness = Readiness::default();
        let begin = Instant::now();
        assert_eq!(readiness.label(true, begin), Some(true));
        assert_eq!(readiness.label(false, begin), None);
        let soon = begin + GRACE / 2;
        assert_eq!(readiness.label(false, soon), None);
        assert_eq!(readiness.label(true, soon), Some(true));
        assert_eq!(readiness.label(false, soon), None);
        assert_eq!(readiness.label(false, begin + GRACE), None);
        assert_eq!(readiness.label(false, soon + GRACE), Some(false));
        assert_eq!(readiness.label(true, soon + GRACE), Some(true));
    }

    #[test]
    fn the_first_problem_is_the_reason_and_conditions_keep_their_time() {
        let mut state = State::default();
        let ready = state.status("x86_64-linux", &[]);
        assert_eq!(ready.state, NodeState::Ready);
        state.seen.no_agent = Some(("AgentAway", "it is away".to_owned()));
        let mut old = ready.conditions;
        let long_ago = Time(jiff::Timestamp::UNIX_EPOCH);
        for condition in &mut old {
            condition.last_transition_time = long_ago.clone();
        }
        let away = state.status("x86_64-linux", &old);
        assert_eq!(
            (away.state, away.reason.as_str()),
            (NodeState::NotReady, "AgentAway")
        );
        let time = |kind: &str| {
            let found = away
                .conditions
                .iter()
                .find(|condition| condition.type_ == kind);
            found.map(|condition| condition.last_transition_time.clone())
        };
        assert_eq!(time("Installed"), Some(long_ago.clone()));
        assert_ne!(time("AgentReady"), Some(long_ago));
        state.removal = Removal::Done(None);
        assert_eq!(state.status("", &[]).state, NodeState::Removed);
    }
}
