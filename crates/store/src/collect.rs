//! Removing what no root keeps: safe to be killed at any point, and to run while others fetch.

use std::collections::{BTreeSet, HashMap};

use fs_err as fs;

use crate::closures::ClosureId;
use crate::layout::{Collecting, Key, Store, StoreError};
use crate::present::{PresentError, Presentation};
use crate::temporary::Temporary;

/// What was removed, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Closures.
    pub closures: u64,
    /// Store paths.
    pub paths: u64,
    /// The sum of their NAR sizes.
    pub bytes: u64,
}

/// What to remove.
#[derive(Debug, Clone)]
pub struct CollectPlan {
    /// Closures to keep, with all their paths.
    pub roots: BTreeSet<ClosureId>,
    /// Stop when so many bytes are free again; `u64::MAX` removes all that may go.
    pub enough: u64,
    /// Only count.
    pub dry_run: bool,
}

/// Why collecting stopped. What was removed before stays removed.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The store is at fault.
    #[error("cannot collect")]
    Store(#[from] StoreError),
    /// A presentation cannot be ended.
    #[error("cannot collect")]
    Present(#[from] PresentError),
}

/// Removes paths that are in no closure, then closures that are no roots, the longest unused first, with the paths
/// that only they have. What a fetch in progress protects stays.
///
/// # Errors
/// Fails when the record of a root cannot be read (nothing is removed then), and when the disk refuses.
pub fn collect(
    collecting: &Collecting,
    presentation: &dyn Presentation,
    plan: &CollectPlan,
) -> Result<Collected, CollectError> {
    let store = &collecting.store;
    let mut users: HashMap<Key, usize> = HashMap::new();
    let mut candidates = Vec::new();
    for id in store.closures()? {
        let keys = match store.closure_keys(id) {
            Ok(Some(keys)) => keys,
            // Without its record nobody knows which paths a root needs, so nothing may go.
            Err(error) if plan.roots.contains(&id) => return Err(error.into()),
            Ok(None) if plan.roots.contains(&id) => return Err(store.lacks_record(id).into()),
            Ok(None) => Vec::new(),
            Err(error) => {
                tracing::warn!(%id, %error, "a closure's record is damaged: it is collected");
                Vec::new()
            }
        };
        for key in &keys {
            *users.entry(key.clone()).or_default() += 1;
        }
        if !plan.roots.contains(&id) {
            candidates.push((store.last_used(id), id, keys));
        }
    }
    candidates.sort_by_key(|(used, id, _)| (*used, *id));

    let mut collector = Collector {
        store,
        presentation,
        dry_run: plan.dry_run,
        collected: Collected::default(),
    };
    let present: Vec<Key> = store.registry().present.keys().cloned().collect();
    for key in present.into_iter().filter(|key| !users.contains_key(key)) {
        if collector.collected.bytes >= plan.enough {
            return Ok(collector.collected);
        }
        collector.remove_path(&key)?;
    }
    for (_, id, keys) in candidates {
        if collector.collected.bytes >= plan.enough {
            break;
        }
        if !collector.remove_closure(id)? {
            continue;
        }
        for key in keys {
            let left = users.get_mut(&key).expect("every key was counted");
            *left -= 1;
            if *left == 0 {
                collector.remove_path(&key)?;
            }
        }
    }
    Ok(collector.collected)
}

struct Collector<'a> {
    store: &'a Store,
    presentation: &'a dyn Presentation,
    dry_run: bool,
    collected: Collected,
}

impl Collector<'_> {
    /// Removes a closure unless somebody is at it; tells whether it went.
    fn remove_closure(&mut self, id: ClosureId) -> Result<bool, CollectError> {
        // The lock is held on, so that nobody can begin to use the closure meanwhile.
        let registry = self.store.registry();
        if registry.protected_closures.contains_key(&id) {
            return Ok(false);
        }
        if !self.dry_run {
            self.presentation.withdraw(self.store, id)?;
            self.store
                .forget_closure(id)
                .map_err(|error| self.store.failed(error))?;
        }
        drop(registry);
        self.collected.closures += 1;
        Ok(true)
    }

    fn remove_path(&mut self, key: &Key) -> Result<(), CollectError> {
        let mut registry = self.store.registry();
        if registry.protected.contains_key(key) {
            return Ok(());
        }
        let Some(presence) = registry.present.get(key).cloned() else {
            return Ok(());
        };
        if !self.dry_run {
            let gone = Temporary::new(self.store);
            let take = || {
                // The record first: bytes without one are removed at the next start.
                fs::remove_file(self.store.record_of(key))?;
                make_movable(&self.store.place_of(key))?;
                fs::rename(self.store.place_of(key), gone.path())
            };
            registry.present.remove(key);
            take().map_err(|error| self.store.failed(error))?;
            drop(registry);
            drop(gone);
            // The folder stays where another build of the same path is in it.
            fs::remove_dir(self.store.folder_of(key)).ok();
        }
        self.collected.paths += 1;
        self.collected.bytes += presence.nar_size;
        Ok(())
    }
}

/// Moving a folder to another one writes to it (its `..` changes), which only root may do to a read-only one.
fn make_movable(place: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if fs::symlink_metadata(place)?.is_dir() {
        fs::set_permissions(place, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
