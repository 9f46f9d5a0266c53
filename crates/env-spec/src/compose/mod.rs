//! The composed environment: one tree of symlinks into the packages, with the store path that its content gives it.

mod error;
mod layers;
mod merge;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nix_data::nar::{Listing, Node};
use nix_data::{Hash, StorePath};

pub use error::{ComposeError, Owner};
pub use resolve::{Found, Location};

use crate::generation::ClosurePath;
use crate::lockfile::LockedPackage;
use resolve::Resolver;

/// The name in the store path of every environment: another name would make another path of the same content.
pub const ENVIRONMENT_NAME: &str = "nival-environment";

/// Why what lies in a store path could not be told.
pub type ContentsFailure = Box<dyn std::error::Error + Send + Sync>;

/// Tells what lies in store paths. It may fetch what it is asked for.
pub trait Contents {
    /// Returns the tree of a store path.
    ///
    /// # Errors
    /// Fails when it is not to be had.
    fn listing(&self, path: &StorePath) -> Result<Arc<Listing>, ContentsFailure>;

    /// Returns a small regular file of a store path, such as `nix-support/propagated-build-inputs`.
    ///
    /// # Errors
    /// Fails when it is not to be had.
    fn file(&self, path: &StorePath, relative: &str) -> Result<Vec<u8>, ContentsFailure>;

    /// Returns whether a store path belongs to the closure of the packages.
    ///
    /// Symlinks in packages that lead to other store paths dangle; what happens to lie on this machine must not
    /// change what an environment is.
    fn contains(&self, path: &StorePath) -> bool;
}

/// A composed environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// Its store path, which its content and references give it.
    pub path: StorePath,
    /// What is in it: directories and symlinks.
    pub tree: Node,
    /// The SHA-256 of its NAR. Its content address is `fixed:r:` and this hash.
    pub nar_hash: Hash,
    /// The length of its NAR in bytes.
    pub nar_size: u64,
    /// The store paths that its symlinks lead to.
    pub references: BTreeSet<StorePath>,
}

/// Composes the environment of one system from its packages.
///
/// The result depends on the packages and what lies in them alone: not on their order, the machine, time or user.
///
/// # Errors
/// Fails when two packages of one priority have different files at one path, and when a package cannot be read.
pub fn compose(
    packages: &[LockedPackage],
    contents: &dyn Contents,
) -> Result<Composed, ComposeError> {
    let layers = layers::layers(packages, contents)?;
    let resolver = Resolver::new(contents);
    let tree = merge::merge(&layers, &resolver)?;
    let (nar_hash, nar_size) = tree.nar_hash().map_err(ComposeError::Tree)?;
    let mut references = BTreeSet::new();
    collect_references(&tree, &mut references);
    let path = StorePath::source(ENVIRONMENT_NAME, &nar_hash, &references, false)
        .expect("the name keeps Nix's rules and the hash is a SHA-256");
    Ok(Composed {
        path,
        tree,
        nar_hash,
        nar_size,
        references,
    })
}

impl Composed {
    /// Returns the environment itself as a part of its closure.
    #[must_use]
    pub fn closure_path(&self) -> ClosurePath {
        ClosurePath {
            path: self.path.clone(),
            nar_hash: self.nar_hash.clone(),
            nar_size: self.nar_size,
            references: self.references.iter().cloned().collect(),
        }
    }

    /// Returns every store path that the environment needs, itself included, sorted.
    ///
    /// # Errors
    /// Fails when `known` lacks one of them.
    pub fn closure(
        &self,
        known: &BTreeMap<StorePath, ClosurePath>,
    ) -> Result<Vec<ClosurePath>, ComposeError> {
        let mut closure = BTreeMap::from([(self.path.clone(), self.closure_path())]);
        let mut open: Vec<(&StorePath, &StorePath)> = self
            .references
            .iter()
            .map(|reference| (reference, &self.path))
            .collect();
        while let Some((path, needed_by)) = open.pop() {
            if closure.contains_key(path) {
                continue;
            }
            let one = known.get(path).ok_or_else(|| ComposeError::NotInClosure {
                path: path.clone(),
                needed_by: needed_by.clone(),
            })?;
            let mut one = one.clone();
            one.references.sort();
            one.references.dedup();
            closure.insert(path.clone(), one);
            open.extend(
                known[path]
                    .references
                    .iter()
                    .map(|reference| (reference, path)),
            );
        }
        Ok(closure.into_values().collect())
    }

    /// Returns what is at a path of the environment, symlinks followed through the packages.
    ///
    /// # Errors
    /// Fails when a package cannot be read.
    pub fn find(&self, path: &str, contents: &dyn Contents) -> Result<Option<Found>, ComposeError> {
        Resolver::new(contents).find(&self.tree, path)
    }
}

fn collect_references(node: &Node, references: &mut BTreeSet<StorePath>) {
    match node {
        Node::Directory(entries) => {
            entries
                .values()
                .for_each(|entry| collect_references(entry, references));
        }
        Node::Symlink(target) => {
            let target = std::str::from_utf8(target).ok();
            references.extend(
                target
                    .and_then(|one| StorePath::split(one).ok())
                    .map(|(path, _)| path),
            );
        }
        Node::File { .. } => {}
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
