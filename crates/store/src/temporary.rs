//! Temporary names in the store's own file system.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::Store;
use crate::remove::remove_tree;

/// A temporary place; whatever is there goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    pub(crate) fn new(store: &Store) -> Self {
        // The folder is emptied when the store is opened, and one process has it open: a number is name enough.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(
            store
                .temporary()
                .join(NEXT.fetch_add(1, Ordering::Relaxed).to_string()),
        )
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.0) {
            tracing::warn!(%error, "a temporary file stays until the next start");
        }
    }
}
