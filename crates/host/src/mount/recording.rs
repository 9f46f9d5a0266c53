//! A stand-in that mounts nothing and remembers what was asked, for tests of plans.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{MountError, MountPoint, Mounts};

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A bind mount.
    Bind(PathBuf, PathBuf),
    /// An end of sharing.
    MakePrivate(PathBuf),
    /// Protection.
    Protect(PathBuf),
    /// A copy of a whole tree.
    CopyTree(PathBuf, PathBuf),
    /// An end of a mount.
    Detach(PathBuf),
}

/// Remembers operations, and which paths would be mount points after them.
#[derive(Debug, Default)]
pub struct Recording {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    operations: Vec<Operation>,
    mounted: BTreeSet<PathBuf>,
}

impl Recording {
    /// Returns what was asked so far, in order.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.state().operations.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mounts for Recording {
    fn bind(&self, source: &Path, target: &Path) -> Result<(), MountError> {
        let mut state = self.state();
        state.mounted.insert(target.to_owned());
        state
            .operations
            .push(Operation::Bind(source.to_owned(), target.to_owned()));
        Ok(())
    }

    fn make_private(&self, target: &Path) -> Result<(), MountError> {
        self.state()
            .operations
            .push(Operation::MakePrivate(target.to_owned()));
        Ok(())
    }

    fn protect(&self, target: &Path) -> Result<(), MountError> {
        self.state()
            .operations
            .push(Operation::Protect(target.to_owned()));
        Ok(())
    }

    fn copy_tree(&self, source: &Path, target: &Path) -> Result<(), MountError> {
        let mut state = self.state();
        state.mounted.insert(target.to_owned());
        state
            .operations
            .push(Operation::CopyTree(source.to_owned(), target.to_owned()));
        Ok(())
    }

    fn detach(&self, target: &Path) -> Result<(), MountError> {
        let mut state = self.state();
        if !state.mounted.contains(target) {
            let source = io::Error::from(rustix::io::Errno::INVAL);
            return Err(MountError::Single {
                verb: "unmount",
                target: target.to_owned(),
                source,
            });
        }
        state.mounted.retain(|path| !path.starts_with(target));
        state.operations.push(Operation::Detach(target.to_owned()));
        Ok(())
    }

    fn is_mount_point(&self, path: &Path) -> Result<bool, MountError> {
        Ok(self.state().mounted.contains(path))
    }

    fn list(&self) -> Result<Vec<MountPoint>, MountError> {
        let point = |path: &PathBuf| MountPoint {
            id: 0,
            parent: 0,
            root: PathBuf::from("/"),
            path: path.clone(),
            options: Vec::new(),
            shared: false,
            kind: "recording".to_owned(),
        };
        Ok(self.state().mounted.iter().map(point).collect())
    }
}
