//! What an installation has changed on a machine, so that it can be undone to the byte.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::machine::Host;
use super::plan::Change;

const FILE: &str = "/opt/nival/installed.json";
/// It holds a few configuration files.
const LARGEST: u64 = 16 << 20;

/// What was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) files: BTreeMap<PathBuf, Kept>,
    /// Folders that were made.
    pub(crate) folders: BTreeSet<PathBuf>,
}

/// A file that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// Its text before; absent where it was made.
    pub(crate) before: Option<String>,
    /// Its text after.
    pub(crate) after: String,
}

impl Record {
    /// Reads it; where there is none or it is damaged, nothing is known.
    pub(crate) fn read(host: &Host) -> Self {
        let bytes = host::fs::read_bounded(&host.path(Path::new(FILE)), LARGEST);
        bytes
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Adds changes that are about to be made, and writes it down.
    pub(crate) fn add(&mut self, host: &Host, changes: &[Change]) -> io::Result<()> {
        for change in changes {
            let Some(after) = change.after.clone() else {
                continue;
            };
            let earlier = self.files.remove(&change.path);
            // Where nobody else has changed the file since, what it was first is what it goes back to.
            let before = match earlier {
                Some(kept) if Some(&kept.after) == change.before.as_ref() => kept.before,
                _ => change.before.clone(),
            };
            self.files
                .insert(change.path.clone(), Kept { before, after });
            if let Some(folder) = change.path.parent().filter(|folder| !host.has(folder)) {
                self.folders.insert(folder.to_owned());
            }
        }
        self.write(host)
    }

    /// Removes the folders that were made and are empty again, and goes back to an earlier record.
    pub(crate) fn give_up_for(&self, host: &Host, earlier: &Self) -> io::Result<()> {
        for folder in self.folders.difference(&earlier.folders) {
            // One that others have put something into stays.
            fs::remove_dir(host.path(folder)).ok();
        }
        if earlier.files.is_empty() {
            Self::delete(host)
        } else {
            earlier.write(host)
        }
    }

    /// Removes the folders that were made and are empty again, and the record itself.
    pub(crate) fn forget(&self, host: &Host) -> io::Result<()> {
        self.give_up_for(host, &Self::default())
    }

    fn write(&self, host: &Host) -> io::Result<()> {
        // Configurations may hold passwords for registries.
        host::fs::write_atomic_private(
            &host.path(Path::new(FILE)),
            &serde_json::to_vec_pretty(self)?,
        )
    }

    fn delete(host: &Host) -> io::Result<()> {
        match fs::remove_file(host.path(Path::new(FILE))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Makes changes, in their order. Each file is replaced as one step and keeps who may read it.
pub(crate) fn apply(host: &Host, changes: &[Change]) -> io::Result<()> {
    for change in changes {
        write(host, &change.path, change.after.as_deref())?;
    }
    Ok(())
}

/// Takes changes back, the last one first.
pub(crate) fn revert(host: &Host, changes: &[Change]) -> io::Result<()> {
    for change in changes.iter().rev() {
        write(host, &change.path, change.before.as_deref())?;
    }
    Ok(())
}

fn write(host: &Host, path: &Path, text: Option<&str>) -> io::Result<()> {
    let place = host.path(path);
    let Some(text) = text else {
        return match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => host::fs::sync_parent(&place),
        };
    };
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    let private = fs::metadata(&place).is_ok_and(|file| file.permissions().mode() & 0o077 == 0);
    if private {
        host::fs::write_atomic_private(&place, text.as_bytes())
    } else {
        host::fs::write_atomic(&place, text.as_bytes())
    }
}
