//! Store paths that the hub can serve.

use env_spec::generation::ClosurePath;
use nix_data::nar::Node;
use nix_data::{Hash, StorePath};

/// A store path that the hub can serve.
#[derive(Clone)]
pub(crate) struct Package {
    pub(crate) path: ClosurePath,
    pub(crate) node: Node,
}

impl Package {
    pub(crate) fn new(name: &str, node: Node) -> Self {
        let nar = node.write_to(Vec::new()).unwrap();
        let nar_hash = Hash::sha256(&nar);
        let path = StorePath::source(name, &nar_hash, &Default::default(), false).unwrap();
        Self {
            path: ClosurePath {
                path,
                nar_hash,
                nar_size: nar.len() as u64,
                references: Vec::new(),
            },
            node,
        }
    }

    /// A package with one file of bytes that compress badly.
    pub(crate) fn noise(name: &str, bytes: usize) -> Self {
        let mut state = u64::from_le_bytes(
            Hash::sha256(name.as_bytes()).digest()[..8]
                .try_into()
                .unwrap(),
        );
        let contents = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        });
        let contents = contents.take(bytes).collect();
        Self::new(
            name,
            folder([(
                "data",
                Node::File {
                    executable: false,
                    contents,
                },
            )]),
        )
    }
}

pub(crate) fn folder<const N: usize>(entries: [(&str, Node); N]) -> Node {
    Node::Directory(
        entries
            .into_iter()
            .map(|(name, node)| (name.as_bytes().to_vec(), node))
            .collect(),
    )
}

pub(crate) fn program(text: &str) -> Node {
    Node::File {
        executable: true,
        contents: text.into(),
    }
}

pub(crate) fn link(target: &str) -> Node {
    Node::Symlink(target.into())
}
