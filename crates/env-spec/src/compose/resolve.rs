//! Follows symlinks through store paths, by their listings alone.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nix_data::nar::{Listing, ListingNode, Node};
use nix_data::{STORE_DIR, StorePath};

use super::{ComposeError, Contents};

/// As many symlinks as Linux follows.
const MOST_LINKS: usize = 40;

/// A place in a store path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The store path.
    pub path: StorePath,
    /// The names below it.
    pub names: Vec<Vec<u8>>,
}

/// What is at the end of all symlinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A directory; `None` for one of the environment itself.
    Directory(Option<Location>),
    /// A regular file.
    File(Location),
}

/// Where following symlinks leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Directory(Location),
    File(Location),
    /// Out of the store: not to be told what is there.
    Outside(Vec<u8>),
    /// Nothing is there.
    Nowhere,
}

pub(super) struct Resolver<'a> {
    contents: &'a dyn Contents,
    listings: RefCell<BTreeMap<StorePath, Arc<Listing>>>,
}

impl Location {
    /// Returns the absolute path.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.path.to_string().into_bytes();
        for name in &self.names {
            bytes.push(b'/');
            bytes.extend_from_slice(name);
        }
        bytes
    }

    pub(super) fn child(&self, name: &[u8]) -> Self {
        let mut names = self.names.clone();
        names.push(name.to_vec());
        Self {
            path: self.path.clone(),
            names,
        }
    }
}

impl<'a> Resolver<'a> {
    pub(super) fn new(contents: &'a dyn Contents) -> Self {
        Self {
            contents,
            listings: RefCell::default(),
        }
    }

    pub(super) fn listing(&self, path: &StorePath) -> Result<Arc<Listing>, ComposeError> {
        if let Some(listing) = self.listings.borrow().get(path) {
            return Ok(Arc::clone(listing));
        }
        let listing = self
            .contents
            .listing(path)
            .map_err(|source| ComposeError::Contents {
                path: path.clone(),
                source,
            })?;
        self.listings
            .borrow_mut()
            .insert(path.clone(), Arc::clone(&listing));
        Ok(listing)
    }

    /// Follows every symlink on the way to a place and at its end.
    pub(super) fn resolve(&self, place: &Location) -> Result<End, ComposeError> {
        let base = place.path.base_name().as_bytes().to_vec();
        self.walk(
            std::iter::once(base)
                .chain(place.names.iter().cloned())
                .collect(),
        )
    }

    /// Walks names below the store directory.
    fn walk(&self, mut open: VecDeque<Vec<u8>>) -> Result<End, ComposeError> {
        // The names from the store directory to where we are, all of them real directories.
        let mut way: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(name) = open.pop_front() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    if way.pop().is_none() {
                        return Ok(End::Outside(b"..".to_vec()));
                    }
                    continue;
                }
                _ => way.push(name),
            }
            let Some(location) = location(&way) else {
                return Ok(End::Nowhere);
            };
            if way.len() == 1 && !self.contents.contains(&location.path) {
                return Ok(End::Nowhere);
            }
            let listing = self.listing(&location.path)?;
            match node(&listing, &location.names) {
                None => return Ok(End::Nowhere),
                Some(ListingNode::Directory { .. }) => {}
                Some(ListingNode::File { .. }) => {
                    return Ok(if open.is_empty() {
                        End::File(location)
                    } else {
                        End::Nowhere
                    });
                }
                Some(ListingNode::Symlink { target }) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Ok(End::Nowhere);
                    }
                    way.pop();
                    let below = below_store(target);
                    if target.starts_with(b"/") {
                        let Some(below) = below else {
                            return Ok(End::Outside(target.clone()));
                        };
                        way.clear();
                        prepend(&mut open, below);
                    } else {
                        prepend(&mut open, target);
                    }
                }
            }
        }
        match location(&way) {
            Some(location) => Ok(End::Directory(location)),
            None => Ok(End::Outside(STORE_DIR.as_bytes().to_vec())),
        }
    }

    /// Finds what is at a path of a composed tree.
    pub(super) fn find(&self, tree: &Node, path: &str) -> Result<Option<Found>, ComposeError> {
        let mut open: VecDeque<Vec<u8>> = split(path.as_bytes());
        let mut way = vec![tree];
        let mut links = 0;
        loop {
            let here = way[way.len() - 1];
            match here {
                Node::Symlink(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Ok(None);
                    }
                    if target.starts_with(b"/") {
                        let Some(below) = below_store(target) else {
                            return Ok(None);
                        };
                        prepend(&mut open, below);
                        return Ok(match self.walk(open)? {
                            End::Directory(location) => Some(Found::Directory(Some(location))),
                            End::File(location) => Some(Found::File(location)),
                            End::Outside(_) | End::Nowhere => None,
                        });
                    }
                    way.pop();
                    prepend(&mut open, target);
                    if way.is_empty() {
                        return Ok(None);
                    }
                }
                Node::File { .. } => return Ok(None),
                Node::Directory(entries) => match open.pop_front() {
                    None => return Ok(Some(Found::Directory(None))),
                    Some(name) if name == b".." => {
                        way.pop();
                        if way.is_empty() {
                            return Ok(None);
                        }
                    }
                    Some(name) => match entries.get(&name) {
                        None => return Ok(None),
                        Some(entry) => way.push(entry),
                    },
                },
            }
        }
    }
}

/// Returns the node at names below the root of a listing.
pub(super) fn node<'l>(listing: &'l Listing, names: &[Vec<u8>]) -> Option<&'l ListingNode> {
    names
        .iter()
        .try_fold(&listing.root, |node, name| match node {
            ListingNode::Directory { entries } => entries.get(name),
            _ => None,
        })
}

fn location(way: &[Vec<u8>]) -> Option<Location> {
    let (base, names) = way.split_first()?;
    let path = StorePath::from_base_name(std::str::from_utf8(base).ok()?).ok()?;
    Some(Location {
        path,
        names: names.to_vec(),
    })
}

fn below_store(target: &[u8]) -> Option<&[u8]> {
    target
        .strip_prefix(STORE_DIR.as_bytes())
        .filter(|rest| rest.starts_with(b"/"))
}

fn split(path: &[u8]) -> VecDeque<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/');
    names
        .filter(|name| !matches!(*name, b"" | b"."))
        .map(<[u8]>::to_vec)
        .collect()
}

fn prepend(open: &mut VecDeque<Vec<u8>>, path: &[u8]) {
    for name in split(path).into_iter().rev() {
        open.push_front(name);
    }
}
