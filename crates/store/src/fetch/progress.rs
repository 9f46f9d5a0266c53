//! How far a fetch is, for whoever waits for it.

use std::sync::atomic::{AtomicU64, Ordering};

use env_spec::generation::ClosurePath;

/// Counters of one fetch; cheap to read at any time.
#[derive(Debug, Default)]
pub struct Progress {
    paths_total: AtomicU64,
    paths_done: AtomicU64,
    bytes_total: AtomicU64,
    bytes_done: AtomicU64,
    downloaded: AtomicU64,
    published_paths: AtomicU64,
    published_bytes: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProgressView {
    /// How many paths the closure has.
    pub paths_total: u64,
    /// How many of them are present.
    pub paths_done: u64,
    /// The sum of the closure's NAR sizes.
    pub bytes_total: u64,
    /// How many NAR bytes are there, those of unfinished paths included.
    pub bytes_done: u64,
    /// How many bytes came from sources.
    pub downloaded: u64,
}

impl Progress {
    /// Returns the progress of a fetch that has not begun, as if nothing were present.
    #[must_use]
    pub fn before(closure: &[ClosurePath]) -> Self {
        let progress = Self::default();
        progress.begin(closure, closure);
        progress
    }

    /// Returns how far the fetch is.
    #[must_use]
    pub fn view(&self) -> ProgressView {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let bytes_total = read(&self.bytes_total);
        ProgressView {
            paths_total: read(&self.paths_total),
            paths_done: read(&self.paths_done),
            bytes_total,
            bytes_done: read(&self.bytes_done).min(bytes_total),
            downloaded: read(&self.downloaded),
        }
    }

    pub(super) fn begin(&self, closure: &[ClosurePath], missing: &[ClosurePath]) {
        let sum = |paths: &[ClosurePath]| {
            paths
                .iter()
                .fold(0_u64, |sum, one| sum.saturating_add(one.nar_size))
        };
        let (total, lacking) = (sum(closure), sum(missing));
        self.paths_total
            .store(closure.len() as u64, Ordering::Relaxed);
        self.paths_done
            .store((closure.len() - missing.len()) as u64, Ordering::Relaxed);
        self.bytes_total.store(total, Ordering::Relaxed);
        self.bytes_done.store(total - lacking, Ordering::Relaxed);
    }

    pub(super) fn add_unpacked(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What was unpacked in vain is to be unpacked again.
    pub(super) fn take_back(&self, bytes: u64) {
        self.bytes_done.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_downloaded(&self, bytes: u64) {
        self.downloaded.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_published(&self, nar_size: u64) {
        self.paths_done.fetch_add(1, Ordering::Relaxed);
        self.published_paths.fetch_add(1, Ordering::Relaxed);
        self.published_bytes.fetch_add(nar_size, Ordering::Relaxed);
    }

    pub(super) fn take_paths(&self) -> u64 {
        self.published_paths.swap(0, Ordering::Relaxed)
    }

    pub(super) fn take_nar_bytes(&self) -> u64 {
        self.published_bytes.swap(0, Ordering::Relaxed)
    }

    pub(super) fn downloaded(&self) -> u64 {
        self.downloaded.load(Ordering::Relaxed)
    }
}
