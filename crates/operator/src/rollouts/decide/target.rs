//! Where a workload's environments stand: what its template has, what it was given, and what is live.

use std::collections::BTreeMap;

use env_spec::Pin;
use workload::rollout::{Memory, Phase, Step};

use super::{Live, Situation, Wanted};

/// All environments of a workload.
#[derive(Debug)]
pub(super) struct Target<'a>(Vec<Place<'a>>);

/// One environment of it.
#[derive(Debug)]
struct Place<'a> {
    environment: &'a str,
    /// The pin in the template; where several places of it name the environment, the first one's.
    present: Option<&'a Pin>,
    /// Whether all those places have the same.
    uniform: bool,
    bare: bool,
    /// What was written of it last.
    step: Option<&'a Step>,
    live: Option<&'a Live>,
}

impl<'a> Target<'a> {
    pub(super) fn of(situation: &Situation<'a>) -> Self {
        let mut places: Vec<Place<'a>> = Vec::new();
        let memory = situation.recall.known();
        for one in situation.uses {
            let known = places
                .iter_mut()
                .find(|place| place.environment == one.environment);
            let own = |pin: &&Pin| is_of(pin, &one.environment);
            let present = one.pin.as_ref().filter(own);
            if let Some(place) = known {
                place.uniform &= place.present == present;
                place.bare &= one.bare;
                continue;
            }
            let step = memory.and_then(|memory| memory.environments.get(&one.environment));
            // The memory is a tenant's: what it says of other environments was not written by the operator.
            let step = step
                .filter(|step| own(&&step.to) && step.from.as_ref().is_none_or(|pin| own(&pin)));
            let live = situation.live.get(&one.environment);
            places.push(Place {
                environment: &one.environment,
                present,
                uniform: true,
                bare: one.bare,
                step,
                // A pointer older than one that was followed is a replay.
                live: live.filter(|live| step.is_none_or(|step| step.sequence <= live.sequence)),
            });
        }
        Self(places)
    }

    /// Tells whether the hub has told of all of them.
    pub(super) fn is_known(&self) -> bool {
        self.0.iter().all(|place| place.live.is_some())
    }

    /// Tells whether the template has what is live, as far as that is known.
    pub(super) fn is_reached(&self) -> bool {
        self.0.iter().all(|place| match place.goal() {
            Some(goal) => place.uniform && place.present == Some(goal),
            None => true,
        })
    }

    /// Tells whether a pointer has moved since it was last followed.
    pub(super) fn is_news(&self) -> bool {
        self.0.iter().any(|place| {
            let followed = place.step.map_or(0, |step| step.sequence);
            place.live.is_some_and(|live| live.sequence > followed)
        })
    }

    /// Tells whether the template is as it was before the rollout.
    pub(super) fn is_as_before(&self) -> bool {
        let same = |place: &Place<'_>, step: &Step| place.present == step.from.as_ref();
        self.all_steps(same)
    }

    /// Tells whether the template is as the rollout left it.
    pub(super) fn is_as_written(&self) -> bool {
        let same =
            |place: &Place<'_>, step: &Step| place.uniform && place.present == Some(&step.to);
        self.all_steps(same)
    }

    fn all_steps(&self, same: impl Fn(&Place<'_>, &Step) -> bool) -> bool {
        self.0
            .iter()
            .all(|place| place.step.is_none_or(|step| same(place, step)))
    }

    /// Tells whether a memory's rollout changes anything.
    pub(super) fn changes(memory: &Memory) -> bool {
        let mut steps = memory.environments.values();
        steps.any(|step| step.from.as_ref() != Some(&step.to))
    }

    /// Returns the generations that nodes are asked to fetch: only those that the hub has told this namespace of. What
    /// a memory alone says may be anything, and nodes fetch what they are asked for without looking at policy.
    pub(super) fn pins(&self) -> Vec<Pin> {
        let live = self.0.iter().filter_map(|place| place.live);
        live.map(|live| live.pin.clone()).collect()
    }

    /// Tells whether the hub has told of all those that the template has not yet.
    pub(super) fn is_told(&self) -> bool {
        let mut places = self.0.iter();
        places.all(|place| place.live.is_some() || place.goal() == place.present)
    }

    /// Returns what is to stand beside the references.
    pub(super) fn wanted(&self) -> BTreeMap<String, Wanted> {
        let wanted = self.0.iter().filter_map(|place| {
            let pin = place.goal()?.clone();
            Some((place.environment.to_owned(), Wanted { pin, bare: false }))
        });
        wanted.collect()
    }

    /// Returns what is to stand there when the rollout is taken back, if that changes anything.
    pub(super) fn back(&self) -> Option<BTreeMap<String, Wanted>> {
        let mut changes = false;
        let mut back = BTreeMap::new();
        for place in &self.0 {
            let step = place.step?;
            let pin = step.from.clone()?;
            changes |= place.present != Some(&pin);
            let wanted = Wanted {
                pin,
                bare: step.bare,
            };
            back.insert(place.environment.to_owned(), wanted);
        }
        changes.then_some(back)
    }

    /// Returns what is remembered when a rollout enters this phase.
    pub(super) fn memory(&self, situation: &Situation<'_>, phase: Phase) -> Memory {
        let before = situation.recall.known().map(|memory| memory.phase);
        let steps = self.0.iter().filter_map(|place| {
            let to = place.goal()?.clone();
            let (from, bare) = place.from(before, phase);
            let sequence = place.live.map(|live| live.sequence);
            let step = Step {
                from,
                to,
                sequence: sequence
                    .or(place.step.map(|step| step.sequence))
                    .unwrap_or(0),
                bare,
            };
            Some((place.environment.to_owned(), step))
        });
        Memory {
            serial: situation.recall.next_serial(),
            phase,
            environments: steps.collect(),
            started_at: situation.now,
            ended_at: match phase {
                Phase::Prefetching | Phase::Progressing => None,
                Phase::Complete | Phase::RolledBack | Phase::Held => Some(situation.now),
            },
            progress: None,
            paused_at: None,
            failed: false,
            reason: String::new(),
            failed_before: situation
                .recall
                .known()
                .and_then(Memory::failure)
                .map(Box::new),
        }
    }

    /// Says what a person has put into the template.
    pub(super) fn by_hand(&self) -> String {
        let changed = self.0.iter().filter(|place| place.goal() != place.present);
        let said: Vec<String> = changed
            .map(|place| match place.present {
                Some(pin) => format!("{}:{}", pin.environment, pin.number),
                None => format!("{} with no pin", place.environment),
            })
            .collect();
        format!("the template was set to {} by hand", said.join(" and "))
    }
}

/// Tells whether a pin is of an environment, as references name it.
fn is_of(pin: &Pin, environment: &str) -> bool {
    let hub = environment.strip_suffix(&pin.environment.to_string());
    hub.is_some_and(|hub| hub.is_empty() || hub.ends_with('/'))
}

impl Place<'_> {
    fn goal(&self) -> Option<&Pin> {
        let live = self.live.map(|live| &live.pin);
        live.or(self.step.map(|step| &step.to)).or(self.present)
    }

    /// Returns the generation to go back to, should the phase that is entered fail.
    fn from(&self, before: Option<Phase>, phase: Phase) -> (Option<Pin>, bool) {
        let present = || (self.present.cloned(), self.bare);
        let Some(step) = self.step else {
            return match phase {
                Phase::Prefetching | Phase::Held => present(),
                // It was there before anybody looked: nothing changes, and there is nothing to go back to.
                _ => (self.goal().cloned(), false),
            };
        };
        match (phase, before) {
            (Phase::Prefetching | Phase::Held, _) => present(),
            // A template that left a complete one without us: that one is what it goes back to.
            (Phase::Progressing | Phase::Complete, Some(Phase::Complete))
                if step.to != *self.goal().unwrap_or(&step.to) =>
            {
                (Some(step.to.clone()), false)
            }
            _ => (step.from.clone(), step.bare),
        }
    }
}
