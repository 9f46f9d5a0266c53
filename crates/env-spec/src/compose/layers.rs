//! The store paths that an environment is made of, in order of precedence.

use std::collections::BTreeSet;

use nix_data::StorePath;
use nix_data::nar::ListingNode;

use super::error::{ComposeError, Owner};
use super::{Contents, ContentsFailure};
use crate::generation::MOST_PATHS;
use crate::lockfile::LockedPackage;

/// The lists in which a package names what must be installed with it.
const PROPAGATED: [&str; 2] = [
    "nix-support/propagated-build-inputs",
    "nix-support/propagated-user-env-packages",
];

/// One store path of an environment. In a list of layers the earlier one wins.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) owner: Owner,
    /// The package's priority; `None` for what only comes along: it gives way in silence.
    pub(super) priority: Option<u32>,
}

/// Returns all layers: the installed outputs by priority, then what they propagate, nearest first.
pub(super) fn layers(
    packages: &[LockedPackage],
    contents: &dyn Contents,
) -> Result<Vec<Layer>, ComposeError> {
    let mut sorted: Vec<&LockedPackage> = packages.iter().collect();
    sorted.sort_by(|one, other| {
        (one.priority, &one.install_id).cmp(&(other.priority, &other.install_id))
    });
    let mut layers = Vec::new();
    let mut seen = BTreeSet::new();
    for package in sorted {
        for output in &package.outputs_to_install {
            let path = package
                .outputs
                .get(output)
                .ok_or_else(|| ComposeError::Output {
                    install_id: package.install_id.clone(),
                    output: output.clone(),
                    available: package
                        .outputs
                        .keys()
                        .cloned()
                        .collect::<Vec<_>>()
                        .join(", "),
                })?;
            if seen.insert(path.clone()) {
                let owner = Owner {
                    install_id: package.install_id.clone(),
                    path: path.clone(),
                };
                if !matches!(root(contents, path)?, Root::Directory { .. }) {
                    return Err(ComposeError::SingleFile {
                        owner: Box::new(owner),
                    });
                }
                layers.push(Layer {
                    owner,
                    priority: Some(package.priority),
                });
            }
        }
    }
    // The list grows while it is walked: nearer packages come before farther ones.
    let mut index = 0;
    while let Some(layer) = layers.get(index) {
        let owner = layer.owner.clone();
        for path in propagated(contents, &owner.path)? {
            if seen.insert(path.clone()) && matches!(root(contents, &path)?, Root::Directory { .. })
            {
                let owner = Owner {
                    install_id: owner.install_id.clone(),
                    path,
                };
                layers.push(Layer {
                    owner,
                    priority: None,
                });
            }
        }
        if layers.len() > MOST_PATHS {
            let place = owner.to_string();
            return Err(ComposeError::TooLarge {
                what: "packages",
                most: MOST_PATHS,
                place,
            });
        }
        index += 1;
    }
    Ok(layers)
}

enum Root {
    Directory { lists: Vec<&'static str> },
    File,
}

fn root(contents: &dyn Contents, path: &StorePath) -> Result<Root, ComposeError> {
    let listing = contents
        .listing(path)
        .map_err(|source| failed(path, source))?;
    if !matches!(listing.root, ListingNode::Directory { .. }) {
        return Ok(Root::File);
    }
    let is_file = |name: &&str| matches!(listing.lookup(name), Some(ListingNode::File { .. }));
    Ok(Root::Directory {
        lists: PROPAGATED.into_iter().filter(is_file).collect(),
    })
}

/// Returns the store paths that a package wants beside it, in the order in which it names them.
fn propagated(contents: &dyn Contents, path: &StorePath) -> Result<Vec<StorePath>, ComposeError> {
    let Root::Directory { lists } = root(contents, path)? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for file in lists {
        let bytes = contents
            .file(path, file)
            .map_err(|source| failed(path, source))?;
        for word in String::from_utf8_lossy(&bytes).split_ascii_whitespace() {
            let one = word.parse().map_err(|_| ComposeError::Propagated {
                path: path.clone(),
                file,
                word: word.chars().take(200).collect(),
            })?;
            found.push(one);
        }
    }
    Ok(found)
}

fn failed(path: &StorePath, source: ContentsFailure) -> ComposeError {
    ComposeError::Contents {
        path: path.clone(),
        source,
    }
}
