//! Having a closure: what is missing is fetched, checked against the signed record, and placed.

mod decompress;
mod download;
mod pace;
mod progress;
mod publish;
mod retry;
mod space;

use std::path::PathBuf;
use std::sync::Arc;

use env_spec::generation::ClosurePath;
use nix_data::StorePath;
use tokio::task::JoinSet;

use crate::flight::{Claim, Landing};
use crate::layout::{Key, Store};
use crate::source::{Source, SourceError};
use crate::unpack::UnpackError;
pub use progress::{Progress, ProgressView};

/// So much is fetched before the disk is synced for it in the background: what a power cut may cost.
const BATCH_BYTES: u64 = 1 << 30;

/// What fetching a closure took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchOutcome {
    /// How many paths were missing and are present now.
    pub paths_fetched: u64,
    /// The sum of their NAR sizes.
    pub nar_bytes: u64,
    /// How many bytes were read from sources, failed attempts included.
    pub download_bytes: u64,
}

/// Why a closure could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No source gave the path.
    #[error("cannot fetch {path}{others}")]
    Source {
        /// The path.
        path: StorePath,
        /// What became of the other sources: empty, or in brackets.
        others: String,
        /// The most telling fault.
        #[source]
        source: Box<SourceError>,
    },
    /// There are no sources at all.
    #[error("cannot fetch {path}: no binary cache is configured")]
    NoSource {
        /// The path.
        path: StorePath,
    },
    /// The disk is full, or would be.
    #[error(
        "no space for {what}: the file system at {} has {available} bytes free, {needed} bytes are needed",
        filesystem.display()
    )]
    DiskFull {
        /// What was to be placed.
        what: String,
        /// Where the file system is mounted.
        filesystem: PathBuf,
        /// The bytes that are free.
        available: u64,
        /// The bytes that are needed.
        needed: u64,
    },
    /// The disk refused.
    #[error("cannot place {path} in the store")]
    Place {
        /// The path.
        path: StorePath,
        /// What went wrong.
        #[source]
        source: Box<UnpackError>,
    },
    /// The disk refused to make what was fetched last.
    #[error("cannot publish fetched paths in the store at {}", root.display())]
    Publish {
        /// The store's root.
        root: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A task ended without an answer.
    #[error("fetching was interrupted")]
    Interrupted,
}

impl FetchError {
    /// Returns the source's fault, if it is one.
    #[must_use]
    pub fn source_error(&self) -> Option<&SourceError> {
        match self {
            Self::Source { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Makes all paths of a closure present: fetches what is missing from the first source that has it.
///
/// Each path's bytes are checked against the closure's NAR hash and size. What others are fetching at the same time is
/// waited for, not fetched again. Paths that were fetched before an error stay.
///
/// # Errors
/// Fails with the first path that cannot be had; nothing of it is left.
pub async fn realise(
    store: &Store,
    closure: &[ClosurePath],
    sources: &[Source],
    progress: &Arc<Progress>,
) -> Result<FetchOutcome, FetchError> {
    let _protection = store.protect(closure);
    let sources: Arc<[Source]> = sources.into();
    let mut outcome = FetchOutcome::default();
    loop {
        let plan = plan(store, closure);
        progress.begin(closure, &plan.missing());
        space::check(store, &plan.mine)?;
        let fetched = fetch_all(store, plan.mine, &sources, progress).await;
        outcome.paths_fetched += progress.take_paths();
        outcome.nar_bytes += progress.take_nar_bytes();
        outcome.download_bytes = progress.downloaded();
        fetched?;
        if plan.others.is_empty() {
            return Ok(outcome);
        }
        for (_, landing) in plan.others {
            landing.wait().await;
        }
        // Whatever the others did not manage is now fetched from this caller's sources.
    }
}

/// Who fetches what.
struct Plan {
    /// Claimed by this call, largest first.
    mine: Vec<(ClosurePath, Claim)>,
    /// Claimed by other calls.
    others: Vec<(ClosurePath, Landing)>,
}

impl Plan {
    fn missing(&self) -> Vec<ClosurePath> {
        let mine = self.mine.iter().map(|(path, _)| path);
        mine.chain(self.others.iter().map(|(path, _)| path))
            .cloned()
            .collect()
    }
}

fn plan(store: &Store, closure: &[ClosurePath]) -> Plan {
    let mut plan = Plan {
        mine: Vec::new(),
        others: Vec::new(),
    };
    for path in closure {
        let key = Key::of(path);
        if store.is_present(&key) {
            continue;
        }
        match store.flights().claim(&key) {
            // It may have landed between the two looks.
            Ok(_) if store.is_present(&key) => {}
            Ok(claim) => plan.mine.push((path.clone(), claim)),
            Err(landing) => plan.others.push((path.clone(), landing)),
        }
    }
    plan.mine
        .sort_by_key(|(path, _)| std::cmp::Reverse(path.nar_size));
    plan
}

async fn fetch_all(
    store: &Store,
    mine: Vec<(ClosurePath, Claim)>,
    sources: &Arc<[Source]>,
    progress: &Arc<Progress>,
) -> Result<(), FetchError> {
    // Dropping the set, also because the caller went away, ends all fetches of it.
    let mut fetches = JoinSet::new();
    for (path, claim) in mine {
        let (store, sources, progress) = (store.clone(), Arc::clone(sources), Arc::clone(progress));
        fetches.spawn(async move {
            let unpacked = retry::from_any_source(&store, &path, &sources, &progress).await?;
            Ok::<_, FetchError>((unpacked, claim))
        });
    }
    let mut unsettled = Vec::new();
    let mut bytes = 0;
    let mut outcome = Ok(());
    while let Some(fetched) = fetches.join_next().await {
        let one = fetched.map_err(|_| FetchError::Interrupted).flatten();
        let published = match one {
            Ok((unpacked, claim)) => {
                let (key, size) = (Key::of(&unpacked.path), unpacked.path.nar_size);
                let published = publish::publish(store, unpacked, claim, progress).await;
                published.map(|()| (key, size))
            }
            Err(error) => Err(error),
        };
        match published {
            Ok((key, size)) => {
                unsettled.push(key);
                bytes += size;
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
        if bytes >= BATCH_BYTES {
            store.settle_later(std::mem::take(&mut unsettled));
            bytes = 0;
        }
    }
    store.settle_later(unsettled);
    outcome
}
