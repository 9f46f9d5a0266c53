//! Leases: which containers use which closures. A lease names its container's bundle folder and dies with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use env_spec::{Digest, Pin};
use serde::{Deserialize, Serialize};
use store::ClosureId;

use crate::error::AgentError;
use crate::notes::{Lasting, Notes};

/// What one bundle uses. Written to disk: fields may be added, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lease {
    pub(crate) bundle: PathBuf,
    pub(crate) sandbox_id: String,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// Empty for the sandbox itself.
    pub(crate) container: String,
    /// A sandbox may hold several: one per container that it will have.
    pub(crate) holds: Vec<Hold>,
}

/// One generation that is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hold {
    pub(crate) pin: Pin,
    pub(crate) closure: ClosureId,
}

/// All leases, on disk and in memory.
#[derive(Debug)]
pub(crate) struct Leases {
    notes: Notes,
    held: Mutex<BTreeMap<PathBuf, Lease>>,
}

impl Leases {
    /// Reads the leases that are on disk; those whose bundle is gone end here.
    pub(crate) fn recover(folder: PathBuf) -> Result<Self, AgentError> {
        let notes = Notes::open(folder, Lasting::WhileUp)?;
        let held = notes
            .all::<Lease>()?
            .into_iter()
            .map(|(_, lease)| (lease.bundle.clone(), lease))
            .collect();
        let leases = Self {
            notes,
            held: Mutex::new(held),
        };
        leases.sweep()?;
        Ok(leases)
    }

    /// Adds to the lease of a bundle.
    pub(crate) fn take(&self, wanted: &Lease) -> Result<(), AgentError> {
        let mut held = self.held();
        let lease = held.entry(wanted.bundle.clone()).or_insert_with(|| Lease {
            holds: Vec::new(),
            ..wanted.clone()
        });
        let before = lease.holds.len();
        for hold in &wanted.holds {
            if !lease.holds.contains(hold) {
                lease.holds.push(hold.clone());
            }
        }
        if lease.holds.len() == before {
            return Ok(());
        }
        self.notes.write(&name_of(wanted), lease)
    }

    /// Ends the lease of a bundle and returns it; one that is unknown is no error.
    pub(crate) fn release(&self, bundle: &std::path::Path) -> Result<Option<Lease>, AgentError> {
        let Some(lease) = self.held().remove(bundle) else {
            return Ok(None);
        };
        self.notes.remove(&name_of(&lease))?;
        Ok(Some(lease))
    }

    /// Ends the leases whose bundle is gone, so that a lost release leaks nothing.
    pub(crate) fn sweep(&self) -> Result<(), AgentError> {
        let gone: Vec<PathBuf> = self
            .held()
            .keys()
            .filter(|bundle| !bundle.exists())
            .cloned()
            .collect();
        for bundle in gone {
            tracing::debug!(bundle = %bundle.display(), "the bundle is gone: its lease ends");
            self.release(&bundle)?;
        }
        Ok(())
    }

    pub(crate) fn all(&self) -> Vec<Lease> {
        self.held().values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.held().len()
    }

    pub(crate) fn closures(&self) -> BTreeSet<ClosureId> {
        self.held()
            .values()
            .flat_map(|lease| lease.holds.iter().map(|hold| hold.closure))
            .collect()
    }

    pub(crate) fn knows_sandbox(&self, sandbox_id: &str) -> bool {
        self.held()
            .values()
            .any(|lease| lease.sandbox_id == sandbox_id)
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Lease>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(lease: &Lease) -> String {
    Digest::of(lease.bundle.as_os_str().as_encoded_bytes()).hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(bundle: &std::path::Path, closure: &str) -> Lease {
        let pin = format!("acme/api:1@{}", Digest::of(closure.as_bytes()))
            .parse()
            .unwrap();
        let closure = Digest::of(closure.as_bytes()).hex().parse().unwrap();
        Lease {
            bundle: bundle.to_owned(),
            sandbox_id: "sandbox".to_owned(),
            namespace: "web".to_owned(),
            pod: "pod".to_owned(),
            container: String::new(),
            holds: vec![Hold { pin, closure }],
        }
    }

    #[test]
    fn a_lease_lives_through_a_restart_and_dies_with_its_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle");
        fs_err::create_dir(&bundle).unwrap();
        let open = || Leases::recover(folder.path().join("leases")).unwrap();
        let leases = open();
        leases.take(&lease(&bundle, "one")).unwrap();
        leases.take(&lease(&bundle, "two")).unwrap();
        leases.take(&lease(&bundle, "two")).unwrap();
        assert_eq!(open().closures().len(), 2);
        assert!(open().knows_sandbox("sandbox"));
        fs_err::remove_dir(&bundle).unwrap();
        assert_eq!(open().count(), 0);
        assert_eq!(open().count(), 0, "its file is gone as well");
    }

    #[test]
    fn releasing_twice_is_harmless() {
        let folder = tempfile::tempdir().unwrap();
        let leases = Leases::recover(folder.path().join("leases")).unwrap();
        leases.take(&lease(folder.path(), "one")).unwrap();
        assert!(leases.release(folder.path()).unwrap().is_some());
        assert!(leases.release(folder.path()).unwrap().is_none());
    }
}
