//! Generation records on disk, by digest: a pinned generation that is present starts with the hub down.

use std::collections::BTreeSet;
use std::path::PathBuf;

use env_spec::{Digest, Signed};
use fs_err as fs;

use crate::error::AgentError;
use crate::replace::{open_folder, replace};

/// A record of the largest closure, escaped as JSON text.
const LARGEST: u64 = 96 << 20;

/// The records.
#[derive(Debug)]
pub(crate) struct Records {
    folder: PathBuf,
}

impl Records {
    pub(crate) fn open(folder: PathBuf) -> Result<Self, AgentError> {
        open_folder(&folder).map_err(|source| failed("make its folder", source))?;
        Ok(Self { folder })
    }

    /// Returns a record as it came; it is no more trusted than the disk.
    pub(crate) fn read(&self, digest: Digest) -> Option<Signed> {
        let bytes = host::fs::read_bounded(&self.file(digest), LARGEST).ok()?;
        let signed: Signed = serde_json::from_slice(&bytes).ok()?;
        (signed.digest() == digest).then_some(signed)
    }

    pub(crate) fn write(&self, signed: &Signed) -> Result<(), AgentError> {
        // No sync: it is checked when it is read, and one that a power cut took is fetched again.
        let write = || replace(&self.file(signed.digest()), &serde_json::to_vec(signed)?);
        write().map_err(|source| failed("write a record", source))
    }

    /// Removes all records but these.
    pub(crate) fn keep_only(&self, wanted: &BTreeSet<Digest>) -> Result<(), AgentError> {
        let names: BTreeSet<String> = wanted
            .iter()
            .map(|digest| format!("{}.json", digest.hex()))
            .collect();
        let entries =
            fs::read_dir(&self.folder).map_err(|source| failed("read its records", source))?;
        for entry in entries {
            let entry = entry.map_err(|source| failed("read its records", source))?;
            if !entry
                .file_name()
                .to_str()
                .is_some_and(|name| names.contains(name))
            {
                fs::remove_file(entry.path())
                    .map_err(|source| failed("remove a record", source))?;
            }
        }
        Ok(())
    }

    fn file(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{}.json", digest.hex()))
    }
}

fn failed(what: &str, source: std::io::Error) -> AgentError {
    AgentError::State {
        what: what.to_owned(),
        source,
    }
}
