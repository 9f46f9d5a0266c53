//! What floating references meant when a pod's sandbox was made: all containers of a pod run the same generation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use env_spec::{Digest, Pin, Reference};
use serde::{Deserialize, Serialize};

use crate::error::AgentError;
use crate::notes::{Lasting, Notes};

/// Written to disk: fields may be added, never changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sandbox {
    id: String,
    /// The bundle of who asked first: the memory may go when it is gone and nobody has a lease.
    bundle: PathBuf,
    pins: BTreeMap<String, Pin>,
}

/// All sandboxes that asked for a floating reference.
#[derive(Debug)]
pub(crate) struct Sandboxes {
    notes: Notes,
    known: Mutex<BTreeMap<String, Sandbox>>,
}

impl Sandboxes {
    pub(crate) fn recover(folder: PathBuf) -> Result<Self, AgentError> {
        let notes = Notes::open(folder, Lasting::WhileUp)?;
        let known = notes
            .all::<Sandbox>()?
            .into_iter()
            .map(|(_, sandbox)| (sandbox.id.clone(), sandbox))
            .collect();
        Ok(Self {
            notes,
            known: Mutex::new(known),
        })
    }

    /// Returns what a reference meant for this sandbox before.
    pub(crate) fn pin(&self, id: &str, reference: &Reference) -> Option<Pin> {
        self.known()
            .get(id)?
            .pins
            .get(&reference.to_string())
            .cloned()
    }

    /// Remembers what a reference means for this sandbox, and returns what it means: who was first decides.
    pub(crate) fn remember(
        &self,
        id: &str,
        bundle: &Path,
        reference: &Reference,
        pin: Pin,
    ) -> Result<Pin, AgentError> {
        let mut known = self.known();
        let sandbox = known.entry(id.to_owned()).or_insert_with(|| Sandbox {
            id: id.to_owned(),
            bundle: bundle.to_owned(),
            pins: BTreeMap::new(),
        });
        if let Some(first) = sandbox.pins.get(&reference.to_string()) {
            return Ok(first.clone());
        }
        sandbox.pins.insert(reference.to_string(), pin.clone());
        self.notes.write(&name_of(id), sandbox)?;
        Ok(pin)
    }

    /// Forgets a sandbox.
    pub(crate) fn forget(&self, id: &str) -> Result<(), AgentError> {
        self.known().remove(id);
        self.notes.remove(&name_of(id))
    }

    /// Forgets the sandboxes that are gone.
    pub(crate) fn sweep(&self, is_used: impl Fn(&str) -> bool) -> Result<(), AgentError> {
        let gone = |sandbox: &&Sandbox| !sandbox.bundle.exists() && !is_used(&sandbox.id);
        let gone: Vec<String> = self
            .known()
            .values()
            .filter(gone)
            .map(|sandbox| sandbox.id.clone())
            .collect();
        gone.iter().try_for_each(|id| self.forget(id))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Sandbox>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Identifiers come from outside: their digest is a safe file name.
fn name_of(id: &str) -> String {
    Digest::of(id.as_bytes()).hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_meaning_holds_through_restarts_until_the_sandbox_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle");
        fs_err::create_dir(&bundle).unwrap();
        let open = || Sandboxes::recover(folder.path().join("sandboxes")).unwrap();
        let reference: Reference = "acme/api".parse().unwrap();
        let pin = |number: u64| {
            format!("acme/api:{number}@{}", Digest::of(b""))
                .parse::<Pin>()
                .unwrap()
        };
        assert_eq!(
            open()
                .remember("../evil", &bundle, &reference, pin(1))
                .unwrap(),
            pin(1)
        );
        let sandboxes = open();
        assert_eq!(
            sandboxes
                .remember("../evil", &bundle, &reference, pin(2))
                .unwrap(),
            pin(1)
        );
        assert_eq!(sandboxes.pin("other", &reference), None);
        sandboxes.sweep(|_| false).unwrap();
        assert_eq!(
            sandboxes.pin("../evil", &reference),
            Some(pin(1)),
            "its bundle is still there"
        );
        fs_err::remove_dir(&bundle).unwrap();
        sandboxes.sweep(|_| true).unwrap();
        assert!(
            sandboxes.pin("../evil", &reference).is_some(),
            "a container still has a lease"
        );
        sandboxes.sweep(|_| false).unwrap();
        assert_eq!(open().pin("../evil", &reference), None);
    }
}
