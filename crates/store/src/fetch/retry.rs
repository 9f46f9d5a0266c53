//! Asking again, and asking the next source.

use std::sync::Arc;
use std::time::Duration;

use env_spec::generation::ClosurePath;

use super::FetchError;
use super::download::{Failure, Unpacked, download};
use super::progress::Progress;
use crate::layout::Store;
use crate::source::{Source, SourceError};

/// How often a source is asked while only the network is at fault.
const ATTEMPTS: u32 = 5;
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Fetches a path from the first source that has it.
pub(super) async fn from_any_source(
    store: &Store,
    path: &ClosurePath,
    sources: &[Source],
    progress: &Arc<Progress>,
) -> Result<Unpacked, FetchError> {
    let mut faults = Vec::new();
    for source in sources {
        match from_source(store, path, source, progress).await {
            Ok(unpacked) => return Ok(unpacked),
            Err(Failure::Local(error)) => return Err(error),
            Err(Failure::Source(fault)) => {
                if !fault.is_absence() {
                    tracing::warn!(store_path = %path.path, source = source.name(), error = %fault, "source failed");
                }
                faults.push(fault);
            }
        }
    }
    Err(summary(path, faults))
}

async fn from_source(
    store: &Store,
    path: &ClosurePath,
    source: &Source,
    progress: &Arc<Progress>,
) -> Result<Unpacked, Failure> {
    let mut pause = FIRST_PAUSE + spread(path);
    for _ in 1..ATTEMPTS {
        match download(store, path, source, progress).await {
            Err(Failure::Source(fault)) if fault.is_transient() => {
                tracing::debug!(store_path = %path.path, error = %fault, ?pause, "asking again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            other => return other,
        }
    }
    download(store, path, source, progress).await
}

/// Keeps paths that failed together from being asked for together again.
fn spread(path: &ClosurePath) -> Duration {
    let byte = path.nar_hash.digest().first().copied().unwrap_or_default();
    Duration::from_millis(u64::from(byte))
}

/// The most telling fault is the error; the others are told beside it.
fn summary(path: &ClosurePath, mut faults: Vec<SourceError>) -> FetchError {
    let path = path.path.clone();
    let rank = |fault: &SourceError| match fault {
        fault if fault.is_corrupt() => 0,
        SourceError::OtherBytes { .. } => 2,
        fault if fault.is_absence() => 3,
        _ => 1,
    };
    faults.sort_by_key(rank);
    let mut faults = faults.into_iter();
    let Some(source) = faults.next() else {
        return FetchError::NoSource { path };
    };
    let others: Vec<String> = faults.map(|fault| fault.to_string()).collect();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!(" (also: {})", others.join("; "))
    };
    FetchError::Source {
        path,
        others,
        source: Box::new(source),
    }
}
