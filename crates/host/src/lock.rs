//! A lock between processes, held through an open file.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::fs::FlockOperation;

/// How often a taken lock is tried again. There is no way to wait for a lock with a deadline but to ask again.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// An exclusive lock. It ends when this is dropped or the process dies.
#[derive(Debug)]
pub struct FileLock {
    _file: fs::File,
}

/// Why a lock was not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock file itself is at fault.
    #[error("cannot open the lock file {}", path.display())]
    Open {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody holds it for too long.
    #[error("{what} is in use by another process: {} stayed locked for {waited:?}", path.display())]
    Busy {
        /// What the lock guards.
        what: String,
        /// The lock file.
        path: PathBuf,
        /// How long this waited.
        waited: Duration,
    },
}

impl FileLock {
    /// Takes the lock, waiting at most `timeout` for whoever holds it. `what` names what it guards, for the error.
    ///
    /// # Errors
    /// Fails when the file cannot be made, or is still locked at the end.
    pub fn acquire(path: &Path, what: &str, timeout: Duration) -> Result<Self, LockError> {
        let open_error = |source| LockError::Open {
            path: path.to_owned(),
            source,
        };
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(open_error)?;
        let begun = Instant::now();
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < timeout => {
                    std::thread::sleep(TRY_EVERY);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(LockError::Busy {
                        what: what.to_owned(),
                        path: path.to_owned(),
                        waited: timeout,
                    });
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(open_error(error.into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_named_and_a_dropped_one_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = FileLock::acquire(&path, "the store", Duration::ZERO).unwrap();
        let error = FileLock::acquire(&path, "the store", Duration::ZERO).unwrap_err();
        assert!(
            error.to_string().starts_with("the store is in use"),
            "{error}"
        );
        drop(first);
        // A child that another test has just forked shares it until it becomes another program.
        FileLock::acquire(&path, "the store", Duration::from_secs(60)).unwrap();
    }
}
