//! The presentation that every kernel can do: one bind mount per store path, all below one folder.
//!
//! The tree is built in a private staging place, made recursively read-only there, and then copied to its final place in
//! one step: whatever is mounted at `mounts/<id>` is whole and protected, also after a kill at any point. Where the
//! store lies on a shared mount, other mount namespaces receive the tree in that state as well.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use env_spec::generation::ClosurePath;
use fs_err as fs;
use host::mount::Mounts;

use super::{PresentError, Presentation};
use crate::closures::ClosureId;
use crate::layout::{Key, Store};

/// Names of staging places below `mounts/` begin so; no closure's does.
const STAGING: &str = "staging-";

/// Presents closures as trees of bind mounts.
pub struct BindTree {
    mounts: Arc<dyn Mounts>,
    /// One tree is built at a time; it takes milliseconds.
    building: Mutex<()>,
}

impl BindTree {
    /// Takes over what an earlier process presented: whole closures stay, all else below `mounts/` goes.
    ///
    /// # Errors
    /// Fails when a leftover cannot be taken away.
    pub fn recover(store: &Store, mounts: Arc<dyn Mounts>) -> Result<Self, PresentError> {
        let tree = Self {
            mounts,
            building: Mutex::new(()),
        };
        let known = store.closures()?;
        let entries =
            fs::read_dir(store.root().join("mounts")).map_err(|error| store.failed(error))?;
        for entry in entries {
            let place = entry.map_err(|error| store.failed(error))?.path();
            let name = place
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let id = name.parse::<ClosureId>().ok();
            match id {
                Some(id) if known.contains(&id) => {}
                Some(id) => tree.take_away(&place, id)?,
                None if name.starts_with(STAGING) => {
                    let id = name[STAGING.len()..]
                        .parse()
                        .unwrap_or_else(|_| ClosureId::of(&[]));
                    tree.take_away(&place, id)?;
                }
                None => {
                    tracing::warn!(place = %place.display(), "not a presented closure: left alone");
                }
            }
        }
        Ok(tree)
    }

    fn place(store: &Store, id: ClosureId) -> PathBuf {
        store.root().join("mounts").join(id.to_string())
    }

    /// Unmounts what is mounted at a place, however often, and removes the empty folder.
    fn take_away(&self, place: &Path, id: ClosureId) -> Result<(), PresentError> {
        let failed = |source| PresentError::Mount { id, source };
        while self.mounts.is_mount_point(place).map_err(failed)? {
            self.mounts.detach(place).map_err(failed)?;
        }
        match fs::remove_dir(place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(PresentError::Io { id, source: error })
            }
            _ => Ok(()),
        }
    }

    fn build(
        &self,
        store: &Store,
        id: ClosureId,
        closure: &[ClosurePath],
    ) -> Result<PathBuf, PresentError> {
        let in_out = |source| PresentError::Io { id, source };
        let failed = |source| PresentError::Mount { id, source };
        let (tree, binds) = make_tree(store, id, closure)?;
        let place = Self::place(store, id);
        let staging = store.root().join("mounts").join(format!("{STAGING}{id}"));
        for folder in [&staging, &place] {
            fs::create_dir_all(folder).map_err(in_out)?;
        }
        self.mounts.bind(&tree, &staging).map_err(failed)?;
        // Before anything is mounted in it: no other mount namespace is to see the unprotected tree grow.
        self.mounts.make_private(&staging).map_err(failed)?;
        for (source, name) in binds {
            self.mounts
                .bind(&source, &staging.join(name))
                .map_err(failed)?;
        }
        self.mounts.protect(&staging).map_err(failed)?;
        self.mounts.copy_tree(&staging, &place).map_err(failed)?;
        self.mounts.make_private(&place).map_err(failed)?;
        Ok(place)
    }
}

impl Presentation for BindTree {
    fn present(&self, store: &Store, closure: &[ClosurePath]) -> Result<PathBuf, PresentError> {
        let id = store.record_closure(closure)?;
        // Asked before the lock is taken: the collector asks for the two locks in the other order.
        let missing = closure
            .iter()
            .find(|path| !store.is_present(&Key::of(path)));
        if let Some(path) = missing {
            return Err(PresentError::Missing {
                path: path.path.clone(),
            });
        }
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = self.presented(store, id)? {
            return Ok(place);
        }
        let built = self.build(store, id, closure);
        let staging = store.root().join("mounts").join(format!("{STAGING}{id}"));
        let cleared = self.take_away(&staging, id);
        let place = built?;
        cleared?;
        tracing::debug!(%id, paths = closure.len(), "closure presented");
        Ok(place)
    }

    fn withdraw(&self, store: &Store, id: ClosureId) -> Result<(), PresentError> {
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_away(&Self::place(store, id), id)
    }

    fn presented(&self, store: &Store, id: ClosureId) -> Result<Option<PathBuf>, PresentError> {
        let place = Self::place(store, id);
        let is_there = self.mounts.is_mount_point(&place);
        Ok(is_there
            .map_err(|source| PresentError::Mount { id, source })?
            .then_some(place))
    }
}

/// Makes the folder with a mount point per path, and returns it with what is to be mounted where.
///
/// A store path that is a symlink cannot be mounted: it is made anew.
fn make_tree(
    store: &Store,
    id: ClosureId,
    closure: &[ClosurePath],
) -> Result<(PathBuf, Vec<(PathBuf, String)>), PresentError> {
    let in_out = |source| PresentError::Io { id, source };
    let tree = store.closure_folder(id).join("tree");
    // What is there stays: a container in another mount namespace may have its mounts on it, and removing a mount
    // point takes those away. The tree follows from the closure alone, so nothing else can be in it.
    fs::create_dir_all(&tree).map_err(in_out)?;
    rustix::fs::chmod(&tree, rustix::fs::Mode::from_raw_mode(0o755))
        .map_err(|error| in_out(error.into()))?;
    let mut binds = Vec::new();
    for path in closure {
        let source = store.place_of(&Key::of(path));
        let name = path.path.base_name().to_owned();
        let point = tree.join(&name);
        let kind = fs::symlink_metadata(&source).map_err(in_out)?.file_type();
        let made = if kind.is_symlink() {
            fs::os::unix::fs::symlink(fs::read_link(&source).map_err(in_out)?, &point)
        } else if kind.is_dir() {
            fs::create_dir(&point)
        } else {
            fs::File::create_new(&point).map(drop)
        };
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(in_out)?,
        }
        if !kind.is_symlink() {
            binds.push((source, name));
        }
    }
    rustix::fs::chmod(&tree, rustix::fs::Mode::from_raw_mode(0o555))
        .map_err(|error| in_out(error.into()))?;
    Ok((tree, binds))
}
