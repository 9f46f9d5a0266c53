//! What lies in store paths, read from the machine's own store: for composing environments from them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use env_spec::compose::{Contents, ContentsFailure};
use nix_data::StorePath;
use nix_data::nar::{Listing, ListingNode};

/// Only small files are ever asked for.
const LARGEST_FILE: u64 = 1 << 20;
/// As deep as a NAR may be.
const DEEPEST: usize = 256;

/// The part of the machine's store that is some packages' closure, as listings and small files.
#[derive(Debug)]
pub(crate) struct MachineStore {
    closure: HashSet<StorePath>,
    listings: Mutex<HashMap<StorePath, Arc<Listing>>>,
}

impl MachineStore {
    /// Returns the store with nothing in it but these: what else lies on the machine changes no environment.
    pub(crate) fn of(closure: impl IntoIterator<Item = StorePath>) -> Self {
        Self {
            closure: closure.into_iter().collect(),
            listings: Mutex::default(),
        }
    }
}

impl Contents for MachineStore {
    fn listing(&self, path: &StorePath) -> Result<Arc<Listing>, ContentsFailure> {
        let known = || self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = known().get(path) {
            return Ok(Arc::clone(listing));
        }
        let listing = Arc::new(Listing {
            root: list(Path::new(&path.to_string()), DEEPEST)?,
        });
        known().insert(path.clone(), Arc::clone(&listing));
        Ok(listing)
    }

    fn file(&self, path: &StorePath, relative: &str) -> Result<Vec<u8>, ContentsFailure> {
        let file = Path::new(&path.to_string()).join(relative);
        Ok(host::fs::read_bounded(&file, LARGEST_FILE)?)
    }

    fn contains(&self, path: &StorePath) -> bool {
        self.closure.contains(path)
    }
}

fn list(path: &Path, depth_left: usize) -> io::Result<ListingNode> {
    let metadata: Metadata = fs_err::symlink_metadata(path)?;
    let kind = metadata.file_type();
    if kind.is_symlink() {
        let target = fs_err::read_link(path)?.into_os_string().into_vec();
        return Ok(ListingNode::Symlink { target });
    }
    if kind.is_file() {
        let executable = metadata.permissions().mode() & 0o100 != 0;
        return Ok(ListingNode::File {
            size: metadata.len(),
            executable,
            nar_offset: None,
        });
    }
    let refuse = |text: &str| {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} {text}", path.display()),
        ))
    };
    if !kind.is_dir() {
        return refuse("is neither file, folder nor symlink: no store path has such a thing");
    }
    if depth_left == 0 {
        return refuse("lies too deep");
    }
    let mut entries = BTreeMap::new();
    for entry in fs_err::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().as_bytes().to_vec();
        entries.insert(name, list(&entry.path(), depth_left - 1)?);
    }
    Ok(ListingNode::Directory { entries })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_closure_is_there() {
        let path = |name: &str| -> StorePath {
            format!("/nix/store/00000000000000000000000000000000-{name}")
                .parse()
                .unwrap()
        };
        let store = MachineStore::of([path("ours")]);
        assert!(store.contains(&path("ours")));
        assert!(!store.contains(&path("by-chance")));
    }

    #[test]
    fn a_tree_is_listed_as_its_nar_would_be() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join("bin")).unwrap();
        fs_err::write(folder.path().join("bin/run"), "#!").unwrap();
        std::fs::set_permissions(
            folder.path().join("bin/run"),
            std::fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        std::os::unix::fs::symlink("bin/run", folder.path().join("link")).unwrap();
        let listing = Listing {
            root: list(folder.path(), DEEPEST).unwrap(),
        };
        let file = ListingNode::File {
            size: 2,
            executable: true,
            nar_offset: None,
        };
        assert_eq!(listing.lookup("bin/run"), Some(&file));
        assert_eq!(
            listing.lookup("link"),
            Some(&ListingNode::Symlink {
                target: b"bin/run".to_vec()
            })
        );
    }
}
