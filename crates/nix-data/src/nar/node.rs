//! A whole tree in memory: what environments are composed of before they have a path.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use super::error::NarError;
use super::read::{Event, Reader};
use super::write::Writer;
use crate::{Hash, HashingWriter};

/// The most entries of a tree that is read into memory.
const MOST_ENTRIES: u64 = 1_000_000;

/// A file, directory or symlink with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory with its entries by name.
    Directory(BTreeMap<Vec<u8>, Self>),
    /// A regular file.
    File {
        /// Whether it may be executed.
        executable: bool,
        /// What is in it.
        contents: Vec<u8>,
    },
    /// A symlink with its target.
    Symlink(Vec<u8>),
}

impl Node {
    /// Writes the tree's NAR and returns the destination.
    ///
    /// # Errors
    /// Fails when the destination does, and for names or targets that no file system takes.
    pub fn write_to<W: Write>(&self, destination: W) -> Result<W, NarError> {
        let mut writer = Writer::new(destination);
        self.write(&mut writer)?;
        writer.finish()
    }

    /// Writes the tree at the place where the writer is: as its root or the entry it named last.
    ///
    /// # Errors
    /// Fails as [`Node::write_to`] does.
    pub fn write<W: Write>(&self, writer: &mut Writer<W>) -> Result<(), NarError> {
        match self {
            Self::Directory(entries) => {
                writer.directory()?;
                for (name, node) in entries {
                    writer.entry(name)?;
                    node.write(writer)?;
                }
                writer.leave_directory()
            }
            Self::File {
                executable,
                contents,
            } => writer.file_bytes(*executable, contents),
            Self::Symlink(target) => writer.symlink(target),
        }
    }

    /// Returns the SHA-256 and the length of the tree's NAR.
    ///
    /// # Errors
    /// Fails for names or targets that no file system takes.
    pub fn nar_hash(&self) -> Result<(Hash, u64), NarError> {
        let (hash, size, _) = self.write_to(HashingWriter::new(io::sink()))?.finish();
        Ok((hash, size))
    }

    /// Reads a NAR whose files have at most so many bytes in all.
    ///
    /// # Errors
    /// Fails when the source does, for what is no NAR, and for one that is too large.
    pub fn read_from(source: impl Read, most_bytes: u64) -> Result<Self, NarError> {
        let mut reader = Reader::new(source);
        let mut limits = Limits {
            bytes_left: most_bytes,
            most_bytes,
            entries_left: MOST_ENTRIES,
        };
        let first = reader.next_event()?.expect("a NAR begins with its root");
        let root = Self::read(&mut reader, first, &mut limits)?;
        reader.finish()?;
        Ok(root)
    }

    fn read<R: Read>(
        reader: &mut Reader<R>,
        event: Event,
        limits: &mut Limits,
    ) -> Result<Self, NarError> {
        match event {
            Event::Symlink { target } => Ok(Self::Symlink(target)),
            Event::File { executable, size } => {
                limits.take_bytes(size)?;
                // The size is only a claim: memory grows with what really comes.
                let mut contents = Vec::new();
                reader.copy_contents(&mut contents)?;
                Ok(Self::File {
                    executable,
                    contents,
                })
            }
            _ => {
                let mut entries = BTreeMap::new();
                while let Some(Event::Entry { name }) = reader.next_event()? {
                    limits.take_entry()?;
                    let event = reader
                        .next_event()?
                        .expect("an entry is followed by its node");
                    entries.insert(name, Self::read(reader, event, limits)?);
                }
                Ok(Self::Directory(entries))
            }
        }
    }
}

struct Limits {
    bytes_left: u64,
    most_bytes: u64,
    entries_left: u64,
}

impl Limits {
    fn take_bytes(&mut self, size: u64) -> Result<(), NarError> {
        let left = self.bytes_left.checked_sub(size);
        self.bytes_left = left.ok_or(NarError::TooLarge {
            what: "bytes",
            most: self.most_bytes,
        })?;
        Ok(())
    }

    fn take_entry(&mut self) -> Result<(), NarError> {
        let left = self.entries_left.checked_sub(1);
        self.entries_left = left.ok_or(NarError::TooLarge {
            what: "entries",
            most: MOST_ENTRIES,
        })?;
        Ok(())
    }
}
