//! Trees for the tests: one with all that is tricky, arbitrary ones, and their way to the disk.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fs_err as fs;
use nix_data::nar::Node;
use proptest::prelude::*;

/// Returns a file.
pub(crate) fn file(contents: &[u8]) -> Node {
    Node::File {
        executable: false,
        contents: contents.to_vec(),
    }
}

/// Returns a directory of these entries.
pub(crate) fn directory<N: Into<Vec<u8>>>(entries: impl IntoIterator<Item = (N, Node)>) -> Node {
    Node::Directory(
        entries
            .into_iter()
            .map(|(name, node)| (name.into(), node))
            .collect(),
    )
}

/// Returns a tree that holds what archives get wrong, in names that are all text.
pub(crate) fn tricky() -> Node {
    let sizes = (0..=17_u8).chain([63, 64, 65, 255]);
    let padded = sizes.map(|size| (format!("size-{size}"), file(&vec![size; usize::from(size)])));
    let large: Vec<u8> = (0..(1_u32 << 20) + 3)
        .map(|one| (one.wrapping_mul(0x9e37_79b1) >> 24) as u8)
        .collect();
    let mut deep = file(b"bottom");
    for level in 0..60 {
        deep = directory([(format!("level-{level}"), deep)]);
    }
    // In byte order: `-` and `.` come before the `/` that path order would compare, `Z` before `a`.
    let ordered =
        ["A", "Z", "a", "a-", "a.b", "a0", "é", "日本"].map(|name| (name, file(name.as_bytes())));
    let links = [
        ("absolute", "/nix/store/nowhere"),
        ("up", "../../../../etc/passwd"),
        ("itself", "itself"),
        ("blank", " "),
        ("odd", "a\nb\"c\\d\te\u{1}é"),
    ];
    directory([
        ("empty", file(b"")),
        ("empty-directory", directory::<&str>([])),
        (
            "executable",
            Node::File {
                executable: true,
                contents: b"#!/bin/sh\n".to_vec(),
            },
        ),
        (
            "empty-executable",
            Node::File {
                executable: true,
                contents: Vec::new(),
            },
        ),
        ("padded", directory(padded)),
        ("large", file(&large)),
        ("deep", deep),
        ("ordered", directory(ordered)),
        (
            "links",
            directory(links.map(|(name, to)| (name, Node::Symlink(to.as_bytes().to_vec())))),
        ),
        ("long-link", Node::Symlink(vec![b'x'; 4095])),
        (&"n".repeat(255), file(b"longest name")),
        ("name with blanks, \"quotes\" and \\", file(b"1")),
        ("line\nfeed\ttab\u{7f}\u{1b}", file(b"2")),
        ("-rf", file(b"3")),
        ("...", file(b"4")),
        ("~nix~case~hack~1", file(b"5")),
        ("binary", file(&(0..=255).collect::<Vec<u8>>())),
    ])
}

/// Returns a tree with names and targets that are not text, which JSON cannot carry.
pub(crate) fn not_text() -> Node {
    directory([
        (vec![0xff, 0xfe], file(b"not UTF-8")),
        (vec![0x01], file(b"control")),
        (b"link".to_vec(), Node::Symlink(vec![0xc3, 0x28])),
    ])
}

/// Writes a tree to a path where nothing is yet.
pub(crate) fn place(node: &Node, path: &Path) {
    match node {
        Node::Directory(entries) => {
            fs::create_dir(path).unwrap();
            for (name, node) in entries {
                place(node, &path.join(OsStr::from_bytes(name)));
            }
        }
        Node::File {
            executable,
            contents,
        } => {
            let mut file = fs::File::create(path).unwrap();
            std::io::Write::write_all(&mut file, contents).unwrap();
            let mode = if *executable { 0o755 } else { 0o644 };
            fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        }
        Node::Symlink(target) => {
            fs::os::unix::fs::symlink(OsStr::from_bytes(target), path).unwrap();
        }
    }
}

/// Returns the tree's NAR.
pub(crate) fn nar(node: &Node) -> Vec<u8> {
    node.write_to(Vec::new()).unwrap()
}

/// Makes arbitrary trees that a file system takes.
pub(crate) fn any_node() -> impl Strategy<Value = Node> {
    let file = (any::<bool>(), prop::collection::vec(any::<u8>(), 0..100)).prop_map(
        |(executable, contents)| Node::File {
            executable,
            contents,
        },
    );
    let target = prop::collection::vec(1..=255_u8, 1..40).prop_map(Node::Symlink);
    prop_oneof![4 => file, 1 => target].prop_recursive(4, 40, 6, |inner| {
        prop::collection::btree_map(any_name(), inner, 0..6).prop_map(Node::Directory)
    })
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let byte = (1..=255_u8).prop_filter("no slash", |byte| *byte != b'/');
    prop::collection::vec(byte, 1..12).prop_filter("no dots", |name| name != b"." && name != b"..")
}

/// Returns the paths of all files in the tree with their contents, by path.
pub(crate) fn files(node: &Node) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    collect(node, &mut Vec::new(), &mut found);
    found
}

fn collect(node: &Node, path: &mut Vec<u8>, found: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    match node {
        Node::File { contents, .. } => {
            found.insert(path.clone(), contents.clone());
        }
        Node::Symlink(_) => {}
        Node::Directory(entries) => {
            for (name, node) in entries {
                let length = path.len();
                path.push(b'/');
                path.extend_from_slice(name);
                collect(node, path, found);
                path.truncate(length);
            }
        }
    }
}
