//! Mounts: the few operations that presenting a closure needs, behind a trait, so that plans can be tested without root.

#[cfg(target_os = "linux")]
mod linux;
mod recording;
mod table;

use std::io;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
pub use linux::Linux;
pub use recording::{Operation, Recording};
pub use table::{MountPoint, parse_table};

/// The operations.
pub trait Mounts: Send + Sync {
    /// Makes one file or folder appear at a second place; what is mounted below it does not come along.
    ///
    /// # Errors
    /// Fails with both paths; so for all operations that take two.
    fn bind(&self, source: &Path, target: &Path) -> Result<(), MountError>;

    /// Ends the sharing of a mount, and of all below it, with other mount namespaces.
    ///
    /// # Errors
    /// Fails with the path; so for all operations that take one.
    fn make_private(&self, target: &Path) -> Result<(), MountError>;

    /// Makes a mount, and all below it, read-only, nosuid and nodev.
    ///
    /// # Errors
    /// Fails with the path.
    fn protect(&self, target: &Path) -> Result<(), MountError>;

    /// Makes a copy of a mount, with all below it, appear at a second place in one step.
    ///
    /// # Errors
    /// Fails with both paths.
    fn copy_tree(&self, source: &Path, target: &Path) -> Result<(), MountError>;

    /// Takes a mount, with all below it, away. Who still uses it keeps it until done.
    ///
    /// # Errors
    /// Fails with the path, also when nothing is mounted there.
    fn detach(&self, target: &Path) -> Result<(), MountError>;

    /// Tells whether something is mounted exactly here.
    ///
    /// # Errors
    /// Fails when the path cannot be looked at; a path that does not exist is no mount point.
    fn is_mount_point(&self, path: &Path) -> Result<bool, MountError>;

    /// Returns all mounts that this process sees, parents before children.
    ///
    /// # Errors
    /// Fails when the kernel's table cannot be read.
    fn list(&self) -> Result<Vec<MountPoint>, MountError>;
}

/// Why a mount operation failed.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// An operation on two paths.
    #[error("cannot {verb} {} at {}", source_path.display(), target.display())]
    Pair {
        /// What was tried.
        verb: &'static str,
        /// From where.
        source_path: PathBuf,
        /// To where.
        target: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// An operation on one path.
    #[error("cannot {verb} {}", target.display())]
    Single {
        /// What was tried.
        verb: &'static str,
        /// Where.
        target: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The table of mounts.
    #[error("cannot read the table of mounts")]
    Table(#[source] io::Error),
}
