//! The generations that this node has had, per environment, the latest used first: the newest few are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use env_spec::{Digest, EnvironmentName, Pin};
use serde::{Deserialize, Serialize};
use store::ClosureId;

use crate::error::AgentError;
use crate::notes::{Lasting, Notes};

/// More than these are not remembered, whatever is to be kept.
const MOST: usize = 100;

/// One generation. Written to disk: fields may be added, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Seen {
    pub(crate) pin: Pin,
    pub(crate) closure: ClosureId,
    /// The environment's store path.
    pub(crate) environment: String,
    pub(crate) paths: u64,
    pub(crate) nar_bytes: u64,
}

/// All generations that were seen.
#[derive(Debug)]
pub(crate) struct Generations {
    notes: Notes,
    seen: Mutex<BTreeMap<EnvironmentName, Vec<Seen>>>,
}

impl Generations {
    pub(crate) fn recover(folder: PathBuf) -> Result<Self, AgentError> {
        let notes = Notes::open(folder, Lasting::WhileUp)?;
        let lists = notes.all::<Vec<Seen>>()?.into_iter();
        let seen = lists
            .filter_map(|(_, list)| Some((list.first()?.pin.environment.clone(), list)))
            .collect();
        Ok(Self {
            notes,
            seen: Mutex::new(seen),
        })
    }

    /// Puts a generation in front of the others of its environment.
    pub(crate) fn note(&self, generation: Seen) -> Result<(), AgentError> {
        let mut seen = self.seen();
        let environment = generation.pin.environment.clone();
        let list = seen.entry(environment.clone()).or_default();
        // The usual case, a further start of the same generation, writes nothing.
        if list.first() == Some(&generation) {
            return Ok(());
        }
        list.retain(|one| one.closure != generation.closure || one.pin != generation.pin);
        list.insert(0, generation);
        list.truncate(MOST);
        self.notes.write(&name_of(&environment), list)
    }

    /// Returns the closures of the newest few of every environment, and of these pins.
    pub(crate) fn roots(&self, keep: usize, pins: &[Pin]) -> BTreeSet<ClosureId> {
        let seen = self.seen();
        let newest = seen.values().flat_map(|list| list.iter().take(keep));
        let pinned = seen
            .values()
            .flatten()
            .filter(|one| pins.contains(&one.pin));
        newest.chain(pinned).map(|one| one.closure).collect()
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen().values().flatten().cloned().collect()
    }

    /// Forgets the generations whose closure is gone.
    pub(crate) fn sweep(&self, is_there: impl Fn(ClosureId) -> bool) -> Result<(), AgentError> {
        let mut seen = self.seen();
        for (environment, list) in seen.iter_mut() {
            let before = list.len();
            list.retain(|one| is_there(one.closure));
            if list.is_empty() {
                self.notes.remove(&name_of(environment))?;
            } else if list.len() != before {
                self.notes.write(&name_of(environment), list)?;
            }
        }
        seen.retain(|_, list| !list.is_empty());
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<EnvironmentName, Vec<Seen>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(environment: &EnvironmentName) -> String {
    Digest::of(environment.to_string().as_bytes()).hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(environment: &str, number: u64) -> Seen {
        let closure = Digest::of(format!("{environment}{number}").as_bytes())
            .hex()
            .parse()
            .unwrap();
        let pin = format!("{environment}:{number}@{}", Digest::of(b""))
            .parse()
            .unwrap();
        Seen {
            pin,
            closure,
            environment: "/nix/store/x".to_owned(),
            paths: 1,
            nar_bytes: 1,
        }
    }

    #[test]
    fn the_newest_few_and_the_pinned_ones_are_roots() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Generations::recover(folder.path().join("generations")).unwrap();
        let generations = open();
        for number in 1..=4 {
            generations.note(seen("acme/api", number)).unwrap();
        }
        generations.note(seen("acme/web", 1)).unwrap();
        // Used again: now the latest.
        generations.note(seen("acme/api", 1)).unwrap();
        let roots = open().roots(2, &[seen("acme/api", 2).pin]);
        let wanted = [
            ("acme/api", 1),
            ("acme/api", 4),
            ("acme/api", 2),
            ("acme/web", 1),
        ];
        assert_eq!(
            roots,
            wanted
                .iter()
                .map(|(name, number)| seen(name, *number).closure)
                .collect()
        );
        generations
            .sweep(|closure| closure == seen("acme/api", 4).closure)
            .unwrap();
        assert_eq!(open().all(), [seen("acme/api", 4)]);
    }
}
