//! Lays the trees of the layers over each other.

use std::collections::{BTreeMap, BTreeSet};

use nix_data::nar::{DEEPEST, ListingNode, Node};

use super::error::ComposeError;
use super::layers::Layer;
use super::resolve::{End, Location, Resolver, node};

/// The most entries of a composed tree; directories of one package count as one.
const MOST_ENTRIES: usize = 1_000_000;

/// What a package keeps at its top for builds and is no part of what it provides.
const NOT_LINKED_AT_TOP: [&[u8]; 4] = [
    b"nix-support",
    b"propagated-build-inputs",
    b"propagated-user-env-packages",
    b"log",
];

/// Indexes that every package writes for itself alone: those of several cannot be merged.
const NOT_LINKED: [&[u8]; 2] = [b"info/dir", b"perllocal.pod"];

/// One layer's part at a place.
#[derive(Clone)]
struct Part<'l> {
    layer: &'l Layer,
    /// Where it is in the package, before following symlinks.
    place: Location,
    end: End,
}

struct Merger<'a, 'r> {
    resolver: &'a Resolver<'r>,
    entries: usize,
}

/// Returns the tree of all layers.
pub(super) fn merge(layers: &[Layer], resolver: &Resolver<'_>) -> Result<Node, ComposeError> {
    let mut merger = Merger {
        resolver,
        entries: 0,
    };
    let roots = layers.iter().map(|layer| {
        let place = Location {
            path: layer.owner.path.clone(),
            names: Vec::new(),
        };
        Part {
            layer,
            end: End::Directory(place.clone()),
            place,
        }
    });
    // The root is a real directory even for a single package: what is not linked at the top must stay out.
    merger.directory(&roots.collect::<Vec<_>>(), &mut Vec::new())
}

impl Merger<'_, '_> {
    /// Merges directories; `way` leads to them from the root of the environment.
    fn directory(
        &mut self,
        parts: &[Part<'_>],
        way: &mut Vec<Vec<u8>>,
    ) -> Result<Node, ComposeError> {
        if way.len() > DEEPEST {
            let place = shown(way);
            return Err(ComposeError::TooLarge {
                what: "folders within each other",
                most: DEEPEST,
                place,
            });
        }
        let mut names: BTreeMap<Vec<u8>, Vec<Part<'_>>> = BTreeMap::new();
        for part in parts {
            let End::Directory(location) = &part.end else {
                continue;
            };
            let listing = self.resolver.listing(&location.path)?;
            let Some(ListingNode::Directory { entries }) = node(&listing, &location.names) else {
                continue;
            };
            for (name, entry) in entries {
                if is_left_out(way, name) {
                    continue;
                }
                let place = location.child(name);
                let end = match entry {
                    ListingNode::Directory { .. } => End::Directory(place.clone()),
                    ListingNode::File { .. } => End::File(place.clone()),
                    ListingNode::Symlink { .. } => self.resolver.resolve(&place)?,
                };
                names.entry(name.clone()).or_default().push(Part {
                    layer: part.layer,
                    place,
                    end,
                });
            }
        }
        let mut entries = BTreeMap::new();
        for (name, parts) in names {
            self.entries += 1;
            way.push(name.clone());
            if self.entries > MOST_ENTRIES {
                let place = shown(way);
                return Err(ComposeError::TooLarge {
                    what: "entries",
                    most: MOST_ENTRIES,
                    place,
                });
            }
            entries.insert(name, self.entry(&parts, way)?);
            way.pop();
        }
        Ok(Node::Directory(entries))
    }

    /// Decides what is at one place. The parts are in order of precedence.
    fn entry(&mut self, parts: &[Part<'_>], way: &mut Vec<Vec<u8>>) -> Result<Node, ComposeError> {
        let winner = &parts[0];
        check_conflicts(parts, way)?;
        let End::Directory(_) = winner.end else {
            return Ok(link(winner));
        };
        let mut seen = BTreeSet::new();
        let directories: Vec<Part<'_>> = parts
            .iter()
            .filter(|part| matches!(&part.end, End::Directory(location) if seen.insert(location.clone())))
            .cloned()
            .collect();
        if let [_] = directories.as_slice() {
            return Ok(link(winner));
        }
        if let Some(target) = self.same_link(parts)? {
            return Ok(Node::Symlink(target));
        }
        self.directory(&directories, way)
    }

    /// Returns the target that all parts have as symlinks to a directory beside them (`lib64 -> lib`): that stays as
    /// it is, and so leads to what is merged there.
    fn same_link(&self, parts: &[Part<'_>]) -> Result<Option<Vec<u8>>, ComposeError> {
        let mut same: Option<Vec<u8>> = None;
        for part in parts {
            let listing = self.resolver.listing(&part.place.path)?;
            let Some(ListingNode::Symlink { target }) = node(&listing, &part.place.names) else {
                return Ok(None);
            };
            if target.contains(&b'/') || matches!(target.as_slice(), b"." | b"..") {
                return Ok(None);
            }
            if same.get_or_insert_with(|| target.clone()) != target {
                return Ok(None);
            }
        }
        Ok(same)
    }
}

/// Packages of the winner's priority must agree with it; all others give way.
fn check_conflicts(parts: &[Part<'_>], way: &[Vec<u8>]) -> Result<(), ComposeError> {
    let winner = &parts[0];
    let Some(priority) = winner.layer.priority else {
        return Ok(());
    };
    for other in &parts[1..] {
        let is_rival = other.layer.priority == Some(priority)
            && other.layer.owner.install_id != winner.layer.owner.install_id;
        if !is_rival || winner.end == other.end && winner.end != End::Nowhere {
            continue;
        }
        let owner = |part: &Part<'_>| Box::new(part.layer.owner.clone());
        let place = shown(way);
        match (&winner.end, &other.end) {
            (End::Directory(_), End::Directory(_)) => {}
            (End::Directory(_), _) => {
                let (folder, file) = (owner(winner), owner(other));
                return Err(ComposeError::Kinds {
                    place,
                    folder,
                    file,
                    priority,
                });
            }
            (_, End::Directory(_)) => {
                let (folder, file) = (owner(other), owner(winner));
                return Err(ComposeError::Kinds {
                    place,
                    folder,
                    file,
                    priority,
                });
            }
            _ => {
                let (first, second) = (owner(winner), owner(other));
                return Err(ComposeError::Conflict {
                    place,
                    first,
                    second,
                    priority,
                });
            }
        }
    }
    Ok(())
}

fn link(part: &Part<'_>) -> Node {
    Node::Symlink(part.place.to_bytes())
}

fn is_left_out(way: &[Vec<u8>], name: &[u8]) -> bool {
    if way.is_empty() && NOT_LINKED_AT_TOP.contains(&name) {
        return true;
    }
    let folder = way.last().map_or(&b""[..], Vec::as_slice);
    NOT_LINKED.iter().any(
        |left_out| match left_out.iter().position(|byte| *byte == b'/') {
            None => name == *left_out,
            Some(slash) => folder == &left_out[..slash] && name == &left_out[slash + 1..],
        },
    )
}

fn shown(way: &[Vec<u8>]) -> String {
    let text = way
        .iter()
        .map(|name| String::from_utf8_lossy(name))
        .collect::<Vec<_>>()
        .join("/");
    text.chars()
        .map(|one| if one.is_control() { '\u{fffd}' } else { one })
        .take(400)
        .collect()
}
