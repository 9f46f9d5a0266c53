//! The three conditions of an environment: whether it is resolved, whether its pods are ready, whether it moves.

use api::kubernetes::{Live, Phase};
use env_spec::EnvironmentName;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use workload::rollout::Memory;

use crate::rollouts::index::Answer;
use crate::rollouts::patch::changes;

/// How many workloads a message names.
const MOST_NAMES: usize = 3;
/// The API server takes messages up to 32 KB; people read one line.
const LONGEST_MESSAGE: usize = 1000;

/// How one workload stands.
pub(super) struct Stand<'a> {
    pub(super) said: String,
    pub(super) phase: Phase,
    pub(super) tracked: bool,
    pub(super) memory: Option<&'a Memory>,
    pub(super) waiting: Option<&'a str>,
    pub(super) ready: i32,
    pub(super) desired: i32,
}

/// What conditions are made of.
pub(super) struct Conditions<'a> {
    pub(super) environment: &'a EnvironmentName,
    pub(super) live: Option<&'a Live>,
    pub(super) answer: Option<&'a Answer>,
    pub(super) suspended: bool,
    pub(super) stands: Vec<Stand<'a>>,
}

/// `True`, `False` or `Unknown`, why in one word, and why in one line.
type Verdict = (&'static str, String, String);

impl Conditions<'_> {
    /// Returns all of them, each with the time since which it stands so.
    pub(super) fn all(
        &self,
        before: &[Condition],
        generation: Option<i64>,
        now: Timestamp,
    ) -> Vec<Condition> {
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let resolved = match (
            self.answer,
            before.iter().find(|one| one.type_ == "Resolved"),
        ) {
            // Who has just begun to lead has not asked yet.
            (None, Some(before)) if !self.stands.is_empty() => Condition {
                observed_generation: generation,
                ..before.clone()
            },
            _ => condition("Resolved", self.resolved(), before, generation, now),
        };
        vec![
            resolved,
            condition("Ready", self.ready(), before, generation, now),
            condition("Progressing", self.progressing(), before, generation, now),
        ]
    }

    fn resolved(&self) -> Verdict {
        let Some(answer) = self.answer else {
            return verdict("Unknown", "Waiting", "the hub has not been asked yet");
        };
        if let Some(trouble) = &answer.trouble {
            return verdict("False", trouble.reason, &trouble.message);
        }
        match self.live {
            Some(live) => {
                let text = format!("{}:{} is live", self.environment, live.number);
                verdict("True", "Resolved", &text)
            }
            None => verdict("Unknown", "Waiting", "the hub has not been asked yet"),
        }
    }

    fn ready(&self) -> Verdict {
        if self.stands.is_empty() {
            return verdict("False", "Unused", "no workload of the namespace uses it");
        }
        let missing = self.stands.iter().filter(|one| one.ready < one.desired);
        let missing: Vec<String> = missing
            .map(|one| {
                format!(
                    "{}: {} of {} pods are ready",
                    one.said, one.ready, one.desired
                )
            })
            .collect();
        if missing.is_empty() {
            return verdict("True", "AllReady", "all pods are ready");
        }
        verdict("False", "NotReady", &listed(&missing))
    }

    fn progressing(&self) -> Verdict {
        if self.suspended {
            return verdict("False", "Suspended", "spec.suspend holds all rollouts");
        }
        let of = |phase: Phase| -> Vec<&Stand<'_>> {
            self.stands
                .iter()
                .filter(|one| one.phase == phase)
                .collect()
        };
        let said = |stands: &[&Stand<'_>], what: &dyn Fn(&Stand<'_>) -> String| {
            let texts: Vec<String> = stands
                .iter()
                .map(|one| format!("{}: {}", one.said, what(one)))
                .collect();
            listed(&texts)
        };
        let moving = |one: &Stand<'_>| {
            let changes = one.memory.map(changes).unwrap_or_default();
            match one.waiting {
                Some(waiting) => format!("{changes}, {waiting}"),
                None => changes,
            }
        };
        let stopped = |one: &Stand<'_>| match one.memory.map(|memory| memory.reason.as_str()) {
            Some(reason) if !reason.is_empty() => reason.to_owned(),
            _ => "paused".to_owned(),
        };
        for (phase, status, reason, what) in [
            (
                Phase::Prefetching,
                "True",
                "Prefetching",
                &moving as &dyn Fn(&Stand<'_>) -> String,
            ),
            (Phase::Progressing, "True", "RollingOut", &moving),
            (Phase::RolledBack, "False", "RolledBack", &stopped),
            (Phase::Held, "False", "Held", &stopped),
        ] {
            let stands = of(phase);
            if !stands.is_empty() {
                return verdict(status, reason, &said(&stands, what));
            }
        }
        if self.stands.iter().any(|one| one.tracked) {
            return verdict(
                "False",
                "UpToDate",
                "all workloads that track it run what is live",
            );
        }
        verdict("False", "NotTracked", "no workload tracks it")
    }
}

fn verdict(status: &'static str, reason: &str, message: &str) -> Verdict {
    let message = message.chars().take(LONGEST_MESSAGE).collect();
    (status, reason.to_owned(), message)
}

fn listed(texts: &[String]) -> String {
    let mut text = texts[..texts.len().min(MOST_NAMES)].join("; ");
    if texts.len() > MOST_NAMES {
        text.push_str(&format!("; and {} more", texts.len() - MOST_NAMES));
    }
    text
}

fn condition(
    type_: &str,
    (status, reason, message): Verdict,
    before: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let same = before
        .iter()
        .find(|one| one.type_ == type_ && one.status == status);
    Condition {
        last_transition_time: same.map_or(Time(now), |one| one.last_transition_time.clone()),
        message,
        observed_generation: generation,
        reason,
        status: status.to_owned(),
        type_: type_.to_owned(),
    }
}
