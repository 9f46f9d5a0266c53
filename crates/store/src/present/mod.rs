//! A closure as one folder: what containers get at `/nix/store`.

mod bind_tree;

use std::io;
use std::path::PathBuf;

use env_spec::generation::ClosurePath;
use host::mount::MountError;
use nix_data::StorePath;

use crate::closures::ClosureId;
use crate::layout::{Store, StoreError};

pub use bind_tree::BindTree;

/// A way to present closures.
pub trait Presentation: Send + Sync {
    /// Makes a closure appear as one read-only folder, if it does not yet, and returns the folder.
    ///
    /// All its paths must be present and protected from the collector.
    ///
    /// # Errors
    /// Fails when a path is not present or a mount is refused; nothing is half presented then.
    fn present(&self, store: &Store, closure: &[ClosurePath]) -> Result<PathBuf, PresentError>;

    /// Ends the presentation of a closure, if there is one. Containers that still have it keep it.
    ///
    /// # Errors
    /// Fails when the mount cannot be taken away.
    fn withdraw(&self, store: &Store, id: ClosureId) -> Result<(), PresentError>;

    /// Returns the folder of a closure that is presented now.
    ///
    /// # Errors
    /// Fails when the folder cannot be looked at.
    fn presented(&self, store: &Store, id: ClosureId) -> Result<Option<PathBuf>, PresentError>;
}

/// Why a closure is not presented.
#[derive(Debug, thiserror::Error)]
pub enum PresentError {
    /// A path is missing.
    #[error("{path} is not in the store")]
    Missing {
        /// The path.
        path: StorePath,
    },
    /// The kernel refused a mount.
    #[error("cannot present the closure {id}")]
    Mount {
        /// The closure.
        id: ClosureId,
        /// What was refused.
        #[source]
        source: MountError,
    },
    /// The disk refused.
    #[error("cannot prepare the folders of closure {id}")]
    Io {
        /// The closure.
        id: ClosureId,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store is at fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}
