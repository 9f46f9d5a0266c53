//! Listings: trees without contents, as caches keep them in `.ls` files.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::{self, Formatter};
use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use super::error::{ListingError, NarError, shown};
use super::read::{Event, Reader};
use super::{DEEPEST, name_problem, target_problem};

/// The most memory that the listing of a NAR takes, and about the most bytes that its JSON has: half a million entries.
const MOST_OF_NAR: u64 = 64 << 20;

/// The most memory that the listing of a JSON text takes: others list larger trees than this crate does.
const MOST_OF_JSON: u64 = 256 << 20;

/// The largest JSON text that is read.
const LARGEST: usize = 512 << 20;

/// What an entry takes beside its name and target.
const ENTRY: u64 = 128;

/// What a directory takes beside its entries: room for eleven is made with the first.
const DIRECTORY: u64 = 768;

/// The tree of a NAR with where in it each file's contents begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The root.
    pub root: ListingNode,
}

/// A file, directory or symlink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListingNode {
    /// A directory with its entries by name.
    Directory {
        /// The entries.
        entries: BTreeMap<Vec<u8>, Self>,
    },
    /// A regular file.
    File {
        /// The length of its contents.
        size: u64,
        /// Whether it may be executed.
        executable: bool,
        /// Where in the NAR its contents begin, where that is known.
        nar_offset: Option<u64>,
    },
    /// A symlink.
    Symlink {
        /// Its target.
        target: Vec<u8>,
    },
}

impl Listing {
    /// Makes the listing of a NAR, reading all of it.
    ///
    /// # Errors
    /// Fails when the source does, for what is no NAR, and for one whose listing would be too large.
    pub fn from_reader(source: impl Read) -> Result<Self, NarError> {
        Self::from_reader_if_small(source)?.ok_or_else(|| too_large(MOST_OF_NAR))
    }

    /// Makes the listing of a NAR, or `None` where it would be too large. All of the NAR is read and checked either way.
    ///
    /// # Errors
    /// Fails when the source does, and for what is no NAR.
    pub fn from_reader_if_small(source: impl Read) -> Result<Option<Self>, NarError> {
        let mut reader = Reader::new(source);
        let first = reader.next_event()?.expect("a NAR begins with its root");
        let root = ListingNode::read(&mut reader, first, &Room::new(MOST_OF_NAR))?;
        // Goes on where the listing gave up.
        reader.finish()?;
        Ok(root.map(|root| Self { root }))
    }

    /// Returns what is at a path below the root; the root itself for an empty path.
    ///
    /// Symlinks are not followed.
    #[must_use]
    pub fn lookup(&self, path: impl AsRef<[u8]>) -> Option<&ListingNode> {
        path.as_ref()
            .split(|byte| *byte == b'/')
            .filter(|component| !component.is_empty())
            .try_fold(&self.root, |node, component| match node {
                ListingNode::Directory { entries } => entries.get(component),
                _ => None,
            })
    }

    /// Reads the JSON of an `.ls` file.
    ///
    /// # Errors
    /// Fails when it is too large, of another version or form, or has names that no NAR may have.
    pub fn from_json(text: &[u8]) -> Result<Self, ListingError> {
        if text.len() > LARGEST {
            return Err(ListingError::TooLarge {
                length: text.len(),
                most: LARGEST,
            });
        }
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        // Deep trees are deeper in JSON than serde_json's limit; the visitors have their own.
        deserializer.disable_recursion_limit();
        let room = Room::new(MOST_OF_JSON);
        let (version, root) = deserializer
            .deserialize_map(TopVisitor(&room))
            .and_then(|top| deserializer.end().map(|()| top))
            .map_err(ListingError::Json)?;
        if version != 1 {
            return Err(ListingError::Version { found: version });
        }
        Ok(Self { root })
    }

    /// Writes the JSON of an `.ls` file, byte for byte as Nix does.
    ///
    /// # Errors
    /// Fails for names and targets that are not UTF-8, as Nix does.
    pub fn to_json(&self) -> Result<String, ListingError> {
        let mut text = String::from("{\"root\":");
        self.root.write(&mut text)?;
        text.push_str(",\"version\":1}");
        Ok(text)
    }
}

impl ListingNode {
    /// Reads a node, or returns `None` where there is no more room; then the reader stands somewhere within it.
    fn read<R: Read>(
        reader: &mut Reader<R>,
        event: Event,
        room: &Room,
    ) -> Result<Option<Self>, NarError> {
        Ok(match event {
            Event::Symlink { target } => room
                .take(weight(&target))
                .then_some(Self::Symlink { target }),
            Event::File { executable, size } => Some(Self::File {
                size,
                executable,
                nar_offset: Some(reader.offset()),
            }),
            _ => {
                if !room.take(DIRECTORY) {
                    return Ok(None);
                }
                let mut entries = BTreeMap::new();
                while let Some(Event::Entry { name }) = reader.next_event()? {
                    if !room.take(ENTRY + weight(&name)) {
                        return Ok(None);
                    }
                    let event = reader
                        .next_event()?
                        .expect("an entry is followed by its node");
                    let Some(node) = Self::read(reader, event, room)? else {
                        return Ok(None);
                    };
                    entries.insert(name, node);
                }
                Some(Self::Directory { entries })
            }
        })
    }

    fn write(&self, text: &mut String) -> Result<(), ListingError> {
        match self {
            Self::Directory { entries } => {
                text.push_str("{\"entries\":{");
                for (index, (name, node)) in entries.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    write_string(text, name)?;
                    text.push(':');
                    node.write(text)?;
                }
                text.push_str("},\"type\":\"directory\"}");
            }
            Self::File {
                size,
                executable,
                nar_offset,
            } => {
                text.push('{');
                if *executable {
                    text.push_str("\"executable\":true,");
                }
                if let Some(offset) = nar_offset {
                    text.push_str(&format!("\"narOffset\":{offset},"));
                }
                text.push_str(&format!("\"size\":{size},\"type\":\"regular\"}}"));
            }
            Self::Symlink { target } => {
                text.push_str("{\"target\":");
                write_string(text, target)?;
                text.push_str(",\"type\":\"symlink\"}");
            }
        }
        Ok(())
    }
}

fn write_string(text: &mut String, bytes: &[u8]) -> Result<(), ListingError> {
    let string =
        std::str::from_utf8(bytes).map_err(|_| ListingError::NotUnicode { text: shown(bytes) })?;
    text.push_str(&serde_json::to_string(string).map_err(ListingError::Json)?);
    Ok(())
}

/// The memory that is left for a listing.
struct Room {
    most: u64,
    left: Cell<u64>,
}

impl Room {
    fn new(most: u64) -> Self {
        let left = Cell::new(most);
        Self { most, left }
    }

    /// Takes some of it, and tells whether there was so much.
    fn take(&self, some: u64) -> bool {
        let left = self.left.get().checked_sub(some);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Takes some of it, for readers of JSON.
    fn require<E: serde::de::Error>(&self, some: u64) -> Result<(), E> {
        if self.take(some) {
            return Ok(());
        }
        Err(E::custom(too_large(self.most)))
    }
}

fn too_large(most: u64) -> NarError {
    NarError::TooLarge {
        what: "bytes in its listing",
        most,
    }
}

/// Returns how many bytes a name or target has in JSON; in memory it has no more.
fn weight(bytes: &[u8]) -> u64 {
    let escaped = |byte: &u8| match byte {
        0..=0x1f => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    bytes.iter().map(escaped).sum()
}

/// Reads `{"version": …, "root": …}`.
struct TopVisitor<'room>(&'room Room);

impl<'de> Visitor<'de> for TopVisitor<'_> {
    type Value = (u64, ListingNode);

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("a listing")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut version, mut root) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => version = Some(map.next_value()?),
                "root" => {
                    let room = self.0;
                    root = Some(map.next_value_seed(NodeSeed { depth: 0, room })?);
                }
                // Skipping an unknown value would follow it to any depth.
                other => return Err(unknown_field(other)),
            }
        }
        let version = version.ok_or_else(|| A::Error::missing_field("version"))?;
        Ok((
            version,
            root.ok_or_else(|| A::Error::missing_field("root"))?,
        ))
    }
}

/// Reads one node at a depth.
#[derive(Clone, Copy)]
struct NodeSeed<'room> {
    depth: usize,
    room: &'room Room,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = ListingNode;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = ListingNode;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("a file, directory or symlink")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut kind, mut entries, mut target) = (None::<String>, None, None::<String>);
        let (mut size, mut executable, mut nar_offset) = (None, None, None::<u64>);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "type" => kind = Some(map.next_value()?),
                "entries" => entries = Some(map.next_value_seed(EntriesSeed(self))?),
                "target" => target = Some(map.next_value()?),
                "size" => size = Some(map.next_value()?),
                "executable" => executable = Some(map.next_value()?),
                "narOffset" => nar_offset = Some(map.next_value()?),
                other => return Err(unknown_field(other)),
            }
        }
        let missing = A::Error::missing_field;
        match kind.as_deref() {
            Some("directory") => Ok(ListingNode::Directory {
                entries: entries.ok_or_else(|| missing("entries"))?,
            }),
            Some("regular") => Ok(ListingNode::File {
                size: size.ok_or_else(|| missing("size"))?,
                executable: executable.unwrap_or(false),
                // No contents begin at 0: Nix means "not known" by it.
                nar_offset: nar_offset.filter(|offset| *offset != 0),
            }),
            Some("symlink") => {
                let target = target.ok_or_else(|| missing("target"))?.into_bytes();
                self.room.require(weight(&target))?;
                match target_problem(&target) {
                    Some(problem) => Err(A::Error::custom(format!("symlink target {problem}"))),
                    None => Ok(ListingNode::Symlink { target }),
                }
            }
            Some(other) => Err(A::Error::unknown_variant(
                other,
                &["directory", "regular", "symlink"],
            )),
            None => Err(missing("type")),
        }
    }
}

/// Reads the entries of the directory at the depth of the seed within.
struct EntriesSeed<'room>(NodeSeed<'room>);

impl<'de> DeserializeSeed<'de> for EntriesSeed<'_> {
    type Value = BTreeMap<Vec<u8>, ListingNode>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntriesSeed<'_> {
    type Value = BTreeMap<Vec<u8>, ListingNode>;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("the entries of a directory")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let NodeSeed { depth, room } = self.0;
        let depth = depth + 1;
        if depth > DEEPEST {
            return Err(A::Error::custom(NarError::TooDeep));
        }
        room.require(DIRECTORY)?;
        let mut entries = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let name = name.into_bytes();
            if let Some(problem) = name_problem(&name) {
                let name = shown(&name);
                return Err(A::Error::custom(NarError::Name { name, problem }));
            }
            room.require(ENTRY + weight(&name))?;
            let node = map.next_value_seed(NodeSeed { depth, room })?;
            if let Some(twice) = entries.insert(name, node) {
                drop(twice);
                return Err(A::Error::custom("an entry stands there twice"));
            }
        }
        Ok(entries)
    }
}

fn unknown_field<E: serde::de::Error>(name: &str) -> E {
    E::custom(format!("unknown field {:?}", crate::hash::shortened(name)))
}
