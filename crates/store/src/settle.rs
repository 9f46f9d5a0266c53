//! Making what is present last through a power cut, without anybody waiting for the disk.
//!
//! A path counts as soon as it has its name and a record, because every process sees the same bytes whether or not they
//! are on the disk yet. Until they are, the record names the boot that it counts for: after a power cut it is void.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs_err as fs;

use crate::layout::{Key, Presence, Store};
use crate::temporary::Temporary;

/// The file in which Linux names the present boot.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Paths that are present but perhaps not on the disk.
#[derive(Debug, Default)]
pub(crate) struct Settling(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Key>,
    running: bool,
}

/// Returns the name of the machine's present boot, where the system gives one.
pub(crate) fn current_boot() -> Option<String> {
    let text = fs::read_to_string(BOOT).ok()?;
    Some(text.trim().to_owned()).filter(|boot| !boot.is_empty())
}

impl Settling {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Begins to make last, in the background, what an earlier process had fetched shortly before it ended.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn settle(&self) {
        let registry = self.registry();
        let unsettled = registry
            .present
            .iter()
            .filter(|(_, presence)| presence.boot.is_some());
        let keys = unsettled.map(|(key, _)| key.clone()).collect();
        drop(registry);
        self.settle_later(keys);
    }

    /// Begins to make these paths last, in the background.
    pub(crate) fn settle_later(&self, keys: Vec<Key>) {
        let mut state = self.settling().lock();
        state.waiting.extend(keys);
        if state.running || state.waiting.is_empty() {
            return;
        }
        state.running = true;
        drop(state);
        let store = self.clone();
        // Not awaited: the runtime lets it end when the process stops in order.
        drop(tokio::task::spawn_blocking(move || store.settle_waiting()));
    }

    /// Writes a path's record of presence in one step; without a sync, as its loss only means another fetch.
    pub(crate) fn write_record(&self, key: &Key, presence: &Presence) -> io::Result<()> {
        let staged = Temporary::new(self);
        fs::write(
            staged.path(),
            serde_json::to_vec(presence).map_err(io::Error::other)?,
        )?;
        fs::rename(staged.path(), self.record_of(key))
    }

    fn settle_waiting(&self) {
        loop {
            let mut state = self.settling().lock();
            let keys = std::mem::take(&mut state.waiting);
            if keys.is_empty() {
                state.running = false;
                return;
            }
            drop(state);
            if let Err(error) = self.settle_now(&keys) {
                // They stay as they are: present until the machine goes down.
                tracing::warn!(%error, "fetched paths are not on the disk and would be lost in a power cut");
            }
        }
    }

    fn settle_now(&self, keys: &[Key]) -> io::Result<()> {
        rustix::fs::syncfs(fs::File::open(self.temporary())?)?;
        for key in keys {
            let mut registry = self.registry();
            // The collector may have been faster.
            if let Some(presence) = registry.present.get_mut(key) {
                presence.boot = None;
                self.write_record(key, presence)?;
            }
        }
        tracing::debug!(paths = keys.len(), "on the disk");
        Ok(())
    }
}
