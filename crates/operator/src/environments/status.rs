//! The state of an environment in a namespace, from what the operator knows: pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::kubernetes::{EnvironmentStatus, Failure, Holder, Live, Phase, Workload as Row};
use env_spec::{EnvironmentName, Pin};
use jiff::Timestamp;
use workload::pin::Slot;
use workload::rollout::{self, Failed};

use super::conditions::{Conditions, Stand};
use crate::rollouts::index::{Answer, Index, Resource};
use crate::rollouts::seen::{Key, Workload};

/// How many workloads and nodes are listed; more are counted.
const MOST_ROWS: usize = 256;

/// What a state is made of.
pub(super) struct Seen<'a> {
    pub(super) index: &'a Index,
    pub(super) namespace: &'a str,
    pub(super) environment: &'a EnvironmentName,
    pub(super) resource: &'a Resource,
    pub(super) now: Timestamp,
}

impl Seen<'_> {
    /// Returns the state as it is now. It equals the one before where nothing has changed.
    pub(super) fn status(&self) -> EnvironmentStatus {
        let users = self.index.users(self.namespace, self.environment);
        let before = &self.resource.status;
        let answer = self.index.answer(self.namespace, self.environment);
        let heard = answer
            .and_then(|answer| answer.live.as_ref())
            .map(|live| Live {
                generation: live.pin.to_string(),
                number: live.pin.number,
                sequence: live.sequence,
                since: live.since.clone(),
            });
        // Who has just begun to lead has not asked yet, or the hub is down just now.
        let lasting = |answer: &Answer| answer.trouble.as_ref().is_some_and(|one| one.lasting);
        let live = match answer.is_some_and(lasting) {
            true => heard,
            false => heard.or_else(|| before.live.clone()),
        };
        let rows: Vec<Row> = users
            .iter()
            .flat_map(|(key, workload)| self.rows(key, workload))
            .collect();
        let holders = self.holders(&users);
        let stands = users.iter().map(|(key, workload)| Stand {
            said: key.said(),
            phase: self.phase(workload),
            tracked: self.tracks(workload),
            memory: workload.recall.known(),
            waiting: self.index.waiting(key),
            ready: workload.progress.available.min(workload.progress.desired),
            desired: workload.progress.desired,
        });
        let conditions = Conditions {
            environment: self.environment,
            live: live.as_ref(),
            answer,
            suspended: self.index.is_suspended(self.namespace, self.environment),
            stands: stands.collect(),
        };
        EnvironmentStatus {
            observed_generation: self.resource.generation,
            workload_count: count(users.len()),
            workloads: rows.into_iter().take(MOST_ROWS).collect(),
            node_count: count(holders.len()),
            nodes: holders.into_iter().take(MOST_ROWS).collect(),
            last_failure: self.last_failure(&users),
            conditions: conditions.all(&before.conditions, self.resource.generation, self.now),
            live,
        }
    }

    fn tracks(&self, workload: &Workload) -> bool {
        let mut own = workload.uses.iter();
        workload.tracked && own.any(|one| one.floating && one.environment == *self.environment)
    }

    fn phase(&self, workload: &Workload) -> Phase {
        if !self.tracks(workload) {
            return Phase::Stable;
        }
        let suspended = workload
            .environments()
            .iter()
            .any(|environment| self.index.is_suspended(self.namespace, environment));
        if suspended || workload.paused || workload.progress.paused {
            return Phase::Held;
        }
        match workload.recall.known().map(|memory| memory.phase) {
            None => Phase::Stable,
            Some(rollout::Phase::Prefetching) => Phase::Prefetching,
            Some(rollout::Phase::Progressing) => Phase::Progressing,
            Some(rollout::Phase::Complete) => Phase::Complete,
            Some(rollout::Phase::RolledBack) => Phase::RolledBack,
            Some(rollout::Phase::Held) => Phase::Held,
        }
    }

    fn rows(&self, key: &Key, workload: &Workload) -> Vec<Row> {
        let own = workload.uses.iter();
        let own = own.filter(|one| one.environment == *self.environment);
        own.map(|one| Row {
            kind: key.kind.name().to_owned(),
            name: key.name.clone(),
            container: match &one.slot {
                Slot::Pod => None,
                Slot::Container(name) => Some(name.clone()),
            },
            generation: one.pin.as_ref().map(Pin::to_string),
            tracking: workload.tracked && one.floating,
            phase: self.phase(workload),
            ready: workload.progress.available.min(workload.progress.desired),
            desired: workload.progress.desired,
        })
        .collect()
    }

    /// Returns the nodes that hold what the workloads run, or are about to.
    fn holders(&self, users: &[(Key, Arc<Workload>)]) -> Vec<Holder> {
        let mut pins: BTreeSet<(u64, String)> = BTreeSet::new();
        for (_, workload) in users {
            let present = workload.uses.iter().filter_map(|one| one.pin.as_ref());
            let memory = workload.recall.known();
            let coming = memory
                .into_iter()
                .flat_map(|memory| memory.environments.values());
            let all = present.chain(coming.map(|step| &step.to));
            let own = all.filter(|pin| pin.environment == *self.environment);
            pins.extend(own.map(|pin| (pin.number, pin.to_string())));
        }
        let nodes = self.index.nodes().iter().filter_map(|(name, node)| {
            let held = pins.iter().filter(|(_, pin)| node.holds.contains(pin));
            let generations: Vec<u64> = held.map(|(number, _)| *number).collect();
            let name = name.clone();
            (!generations.is_empty()).then_some(Holder { name, generations })
        });
        nodes.collect()
    }

    fn last_failure(&self, users: &[(Key, Arc<Workload>)]) -> Option<Failure> {
        let failures = users.iter().filter_map(|(key, workload)| {
            failure(key, &workload.recall.known()?.failure()?, self.environment)
        });
        let before = self.resource.status.last_failure.clone();
        // All times are written by the operator, in the same form.
        failures
            .chain(before)
            .max_by(|one, other| one.time.cmp(&other.time))
    }
}

fn failure(key: &Key, failed: &Failed, environment: &EnvironmentName) -> Option<Failure> {
    let mut generations = failed.generations.iter();
    let generation = generations.find(|pin| pin.environment == *environment)?;
    let reason = match failed.phase {
        rollout::Phase::RolledBack => "RolledBack",
        _ => "Held",
    };
    // Whole seconds: this is compared as text.
    let time = Timestamp::from_second(failed.at.as_second()).ok()?;
    Some(Failure {
        workload: key.said(),
        generation: generation.to_string(),
        reason: reason.to_owned(),
        message: failed.reason.clone(),
        time: time.to_string(),
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
