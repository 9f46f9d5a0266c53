//! Room on the disk, looked at before it is needed, and named when it is gone.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use env_spec::generation::ClosurePath;
use fs_err as fs;

use super::FetchError;
use crate::flight::Claim;
use crate::layout::Store;

/// Fails when what is missing cannot fit: before hours of downloading, not after.
pub(super) fn check(store: &Store, missing: &[(ClosurePath, Claim)]) -> Result<(), FetchError> {
    let needed = missing
        .iter()
        .fold(0_u64, |sum, (path, _)| sum.saturating_add(path.nar_size));
    let available = available(store.root());
    if missing.is_empty() || needed <= available {
        return Ok(());
    }
    let filesystem = mount_point_of(store.root());
    let what = match missing {
        [(path, _)] => path.path.to_string(),
        [(path, _), ..] => format!(
            "{} store paths, the largest of them {}",
            missing.len(),
            path.path
        ),
        [] => return Ok(()),
    };
    Err(FetchError::DiskFull {
        what,
        filesystem,
        available,
        needed,
    })
}

/// Returns the error for a disk that filled up while a path was unpacked.
pub(super) fn full(place: &Path, path: &ClosurePath) -> FetchError {
    let folder = place.parent().unwrap_or(place);
    FetchError::DiskFull {
        what: path.path.to_string(),
        filesystem: mount_point_of(folder),
        available: available(folder),
        needed: path.nar_size,
    }
}

/// Returns how many bytes may still be written; where the system does not say, all that are wanted.
fn available(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(u64::MAX, |state| {
        state.f_bavail.saturating_mul(state.f_frsize)
    })
}

/// Returns the highest folder on the same file system.
fn mount_point_of(folder: &Path) -> PathBuf {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let own = device(folder);
    let above = folder.ancestors().take_while(|path| device(path) == own);
    above.last().unwrap_or(folder).to_owned()
}
