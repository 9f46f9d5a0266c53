//! Where things lie below the store's root, and the registry of what is present.
//!
//! ```text
//! lock                                    held by the one process that uses the store
//! paths/<hash>-<name>/<nar hash>          a store path's bytes
//! paths/<hash>-<name>/<nar hash>.json     the record that it is whole: without it the bytes do not count
//! closures/<id>/closure.json              which paths a closure has
//! closures/<id>/tree/                     the mount points of its presentation
//! mounts/<id>                             where it is presented
//! tmp/                                    all that is not finished; emptied when the store is opened
//! ```

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use env_spec::generation::ClosurePath;
use fs_err as fs;
use host::lock::{FileLock, LockError};
use nix_data::{Hash, StorePath};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::closures::ClosureId;
use crate::flight::Flights;
use crate::recover::recover;
use crate::settle::{Settling, current_boot};

/// How long another process may take to let go of the store. One that was killed while it waited for the disk is gone only
/// when the disk has answered.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Narinfos are small; what counts is their latency.
const NARINFOS: usize = 16;

/// A store path with the bytes that are meant: builds differ from machine to machine, so the path alone does not say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The store path.
    pub path: StorePath,
    /// The SHA-256 of its NAR.
    pub nar_hash: Hash,
}

/// What is known of a present path. Written to disk: fields may be added, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// The length of its NAR.
    pub nar_size: u64,
    /// Where it came from.
    pub source: String,
    /// The boot of the machine that the record counts for: its bytes may not be on the disk yet, so after a power cut
    /// it counts no more. Without one it counts for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

/// Why the store cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A folder or file of it is at fault.
    #[error("the store at {} is not usable", root.display())]
    Io {
        /// The store's root.
        root: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has it.
    #[error(transparent)]
    Locked(#[from] LockError),
}

/// A store on disk. Clones are the same store.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    _lock: FileLock,
    registry: Mutex<Registry>,
    /// The machine's present boot.
    boot: Option<String>,
    settling: Settling,
    flights: Flights,
    limits: Limits,
}

/// How much is done at the same time, over all fetches of the store.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Narinfos that are asked for.
    pub(crate) narinfos: Semaphore,
    /// NARs that are downloaded and unpacked, each on a thread of its own: they bound the memory.
    pub(crate) downloads: Semaphore,
}

#[derive(Debug, Default)]
pub(crate) struct Registry {
    pub(crate) present: HashMap<Key, Presence>,
    /// How many uses in progress each path has: the collector leaves these alone.
    pub(crate) protected: HashMap<Key, usize>,
    pub(crate) protected_closures: HashMap<ClosureId, usize>,
    /// How many collections go on, and what was protected when or since they began.
    collections: usize,
    let_go_later: Vec<(ClosureId, Vec<Key>)>,
}

/// A collection that goes on. What was protected when it began, or is since, stays protected until it ends: its list
/// of roots is as old as it is, and a lease that was taken since is not on it.
#[derive(Debug)]
pub struct Collecting {
    pub(crate) store: Store,
}

/// Keeps paths from the collector while something is done with them.
#[derive(Debug)]
pub struct Protection {
    store: Store,
    closure: ClosureId,
    keys: Vec<Key>,
}

impl Key {
    /// Returns the key of a path of a closure.
    #[must_use]
    pub fn of(path: &ClosurePath) -> Self {
        Self {
            path: path.path.clone(),
            nar_hash: path.nar_hash.clone(),
        }
    }
}

impl Store {
    /// Opens the store, making it where there is none, and removes what an earlier process left unfinished.
    ///
    /// # Errors
    /// Fails when another process has it, or the file system refuses.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io {
            root: root.to_owned(),
            source,
        };
        for folder in ["paths", "closures", "mounts", "tmp"] {
            fs::create_dir_all(root.join(folder)).map_err(failed)?;
        }
        let lock = FileLock::acquire(&root.join("lock"), "the store", LOCK_TIMEOUT)?;
        let boot = current_boot();
        let registry = recover(root, boot.as_deref()).map_err(failed)?;
        tracing::debug!(root = %root.display(), paths = registry.present.len(), "store opened");
        let registry = Mutex::new(registry);
        let flights = Flights::default();
        let limits = Limits {
            narinfos: Semaphore::new(NARINFOS),
            downloads: Semaphore::new(downloads()),
        };
        let root = root.to_owned();
        Ok(Self {
            shared: Arc::new(Shared {
                root,
                _lock: lock,
                registry,
                boot,
                settling: Settling::default(),
                flights,
                limits,
            }),
        })
    }

    /// Returns the store's root folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    /// Returns where a path's bytes are, present or not.
    #[must_use]
    pub fn place_of(&self, key: &Key) -> PathBuf {
        self.folder_of(key).join(key.nar_hash.digest_nix32())
    }

    /// Tells whether a path is present.
    #[must_use]
    pub fn is_present(&self, key: &Key) -> bool {
        self.registry().present.contains_key(key)
    }

    /// Tells whether all paths of a closure are present.
    #[must_use]
    pub fn has_closure(&self, closure: &[ClosurePath]) -> bool {
        let registry = self.registry();
        closure
            .iter()
            .all(|path| registry.present.contains_key(&Key::of(path)))
    }

    /// Returns how many paths are present, and the sum of their NAR sizes.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let registry = self.registry();
        let bytes = registry.present.values().map(|one| one.nar_size).sum();
        (registry.present.len() as u64, bytes)
    }

    /// Keeps a closure and its paths from the collector as long as the answer lives.
    #[must_use]
    pub fn protect(&self, closure: &[ClosurePath]) -> Protection {
        let keys: Vec<Key> = closure.iter().map(Key::of).collect();
        let closure = ClosureId::of(closure);
        let mut registry = self.registry();
        for key in &keys {
            *registry.protected.entry(key.clone()).or_default() += 1;
        }
        *registry.protected_closures.entry(closure).or_default() += 1;
        drop(registry);
        Protection {
            store: self.clone(),
            closure,
            keys,
        }
    }

    /// Begins a collection. Only what is read after this may be its list of roots.
    #[must_use]
    pub fn begin_collecting(&self) -> Collecting {
        self.registry().collections += 1;
        Collecting {
            store: self.clone(),
        }
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.shared
            .registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn flights(&self) -> &Flights {
        &self.shared.flights
    }

    pub(crate) fn boot(&self) -> Option<&str> {
        self.shared.boot.as_deref()
    }

    pub(crate) fn settling(&self) -> &Settling {
        &self.shared.settling
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(crate) fn folder_of(&self, key: &Key) -> PathBuf {
        self.root().join("paths").join(key.path.base_name())
    }

    pub(crate) fn record_of(&self, key: &Key) -> PathBuf {
        self.folder_of(key)
            .join(format!("{}.json", key.nar_hash.digest_nix32()))
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.root().join("tmp")
    }
}

impl Drop for Protection {
    fn drop(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        let mut registry = self.store.registry();
        if registry.collections > 0 {
            registry.let_go_later.push((self.closure, keys));
        } else {
            registry.let_go(self.closure, &keys);
        }
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        let mut registry = self.store.registry();
        registry.collections -= 1;
        if registry.collections == 0 {
            for (closure, keys) in std::mem::take(&mut registry.let_go_later) {
                registry.let_go(closure, &keys);
            }
        }
    }
}

impl Registry {
    fn let_go(&mut self, closure: ClosureId, keys: &[Key]) {
        for key in keys {
            let_go(&mut self.protected, key);
        }
        let_go(&mut self.protected_closures, &closure);
    }
}

fn let_go<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Unpacking keeps processors busy and networks have latency: somewhat more downloads than processors.
fn downloads() -> usize {
    std::thread::available_parallelism().map_or(4, |count| (count.get() + 2).clamp(4, 8))
}
