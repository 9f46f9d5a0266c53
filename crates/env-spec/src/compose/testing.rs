//! A store in memory, for tests of composing and activation.

use std::collections::BTreeMap;
use std::sync::Arc;

use nix_data::StorePath;
use nix_data::nar::{Listing, Node};

use super::{Contents, ContentsFailure};
use crate::lockfile::LockedPackage;

/// Store paths with their trees.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryStore {
    trees: BTreeMap<StorePath, Node>,
}

impl MemoryStore {
    /// Adds a package with entries such as `bin/a`, `bin/b -> a`, `lib/`, or `file=contents`, and returns its path.
    pub(crate) fn add(&mut self, name: &str, entries: &[&str]) -> StorePath {
        let mut tree = Node::Directory(BTreeMap::new());
        for entry in entries {
            if let Some((place, target)) = entry.split_once(" -> ") {
                put(&mut tree, place, Node::Symlink(target.into()));
            } else if let Some((place, contents)) = entry.split_once('=') {
                put(&mut tree, place, file(contents));
            } else if let Some(place) = entry.strip_suffix('/') {
                put(&mut tree, place, Node::Directory(BTreeMap::new()));
            } else {
                put(&mut tree, entry, file(entry));
            }
        }
        self.add_tree(name, tree)
    }

    pub(crate) fn add_tree(&mut self, name: &str, tree: Node) -> StorePath {
        let (hash, _) = tree.nar_hash().unwrap();
        let path = StorePath::source(name, &hash, &[].into(), false).unwrap();
        self.trees.insert(path.clone(), tree);
        path
    }
}

impl Contents for MemoryStore {
    fn listing(&self, path: &StorePath) -> Result<Arc<Listing>, ContentsFailure> {
        let tree = self
            .trees
            .get(path)
            .ok_or_else(|| format!("{path} is not there"))?;
        let nar = tree.write_to(Vec::new())?;
        Ok(Arc::new(Listing::from_reader(nar.as_slice())?))
    }

    fn file(&self, path: &StorePath, relative: &str) -> Result<Vec<u8>, ContentsFailure> {
        let mut node = self.trees.get(path).ok_or("no such path")?;
        for name in relative.split('/') {
            let Node::Directory(entries) = node else {
                return Err("not a folder".into());
            };
            node = entries.get(name.as_bytes()).ok_or("no such file")?;
        }
        match node {
            Node::File { contents, .. } => Ok(contents.clone()),
            _ => Err("not a file".into()),
        }
    }

    fn contains(&self, path: &StorePath) -> bool {
        self.trees.contains_key(path)
    }
}

/// Makes a package of one output.
pub(crate) fn package(id: &str, priority: u32, path: &StorePath) -> LockedPackage {
    LockedPackage {
        install_id: id.to_owned(),
        attr_path: id.to_owned(),
        group: "toplevel".to_owned(),
        pname: id.to_owned(),
        version: "1.0".to_owned(),
        priority,
        derivation: None,
        outputs: [("out".to_owned(), path.clone())].into(),
        outputs_to_install: vec!["out".to_owned()],
        licenses: Vec::new(),
        free: true,
        description: None,
        homepage: None,
        cpe: None,
        purl: None,
    }
}

fn file(contents: &str) -> Node {
    Node::File {
        executable: false,
        contents: contents.into(),
    }
}

fn put(tree: &mut Node, place: &str, node: Node) {
    let Node::Directory(entries) = tree else {
        panic!("{place} lies below a file")
    };
    match place.split_once('/') {
        None => {
            entries.insert(place.into(), node);
        }
        Some((name, rest)) => {
            let folder = entries
                .entry(name.into())
                .or_insert_with(|| Node::Directory(BTreeMap::new()));
            put(folder, rest, node);
        }
    }
}
