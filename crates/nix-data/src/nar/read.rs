//! Reading a NAR as events, in constant memory.

use std::io::{self, BufRead as _, BufReader, Read, Write};

use super::error::{NarError, shown};
use super::{DEEPEST, LONGEST_NAME, LONGEST_TARGET, MAGIC, name_problem, padding, target_problem};

/// What is buffered of the source: small strings come from here, large files pass by it.
const BUFFER: usize = 64 << 10;

/// The longest keyword is "executable"; a little more shows what was there instead.
const LONGEST_KEYWORD: usize = 32;

/// One step through the tree.
///
/// The root comes without an [`Event::Entry`]. Each directory is [`Event::Directory`], then for
/// each of its entries [`Event::Entry`] followed by the entry itself, then
/// [`Event::LeaveDirectory`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A directory begins.
    Directory,
    /// The next thing has this name in the innermost directory: never empty, `.`, `..` or with
    /// a slash.
    Entry {
        /// The name.
        name: Vec<u8>,
    },
    /// The innermost directory ends.
    LeaveDirectory,
    /// A symlink.
    Symlink {
        /// Its target, as hostile as the NAR.
        target: Vec<u8>,
    },
    /// A regular file, whose contents [`Reader::contents`] now reads.
    File {
        /// Whether it may be executed.
        executable: bool,
        /// The length of its contents.
        size: u64,
    },
}

/// Reads a NAR step by step, checking all that Nix checks.
#[derive(Debug)]
pub struct Reader<R> {
    source: BufReader<R>,
    offset: u64,
    state: State,
    /// The directories around the current place, each with its last entry's name.
    directories: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was read.
    Start,
    /// A file, directory or symlink comes.
    Node,
    /// An entry or the end of the directory comes.
    Directory,
    /// Contents of a file come.
    Contents { size: u64, left: u64 },
    /// The root is complete.
    End,
}

/// The contents of the file that the last event announced.
#[derive(Debug)]
pub struct Contents<'reader, R> {
    reader: &'reader mut Reader<R>,
}

impl<R: Read> Reader<R> {
    /// Starts to read; nothing is taken from the source yet.
    ///
    /// The source needs no buffer of its own, and is read past what events have covered.
    pub fn new(source: R) -> Self {
        Self {
            source: BufReader::with_capacity(BUFFER, source),
            offset: 0,
            state: State::Start,
            directories: Vec::new(),
        }
    }

    /// Returns how many bytes of the NAR were read: after [`Event::File`], where its contents
    /// begin.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the next step, or `None` once the root is complete.
    ///
    /// Contents of a file that were not read are skipped.
    ///
    /// # Errors
    /// Fails when the source does, and when the bytes are no NAR. After an error the reader is of no use.
    pub fn next_event(&mut self) -> Result<Option<Event>, NarError> {
        if self.state == State::Start {
            match self.string(MAGIC.len()) {
                Ok(magic) if magic == MAGIC => self.state = State::Node,
                Err(error @ NarError::Read { .. }) => return Err(error),
                _ => return Err(NarError::Magic),
            }
        }
        if let State::Contents { size, .. } = self.state {
            self.skip_contents()?;
            self.skip_padding(size)?;
            self.leave_node()?;
        }
        match self.state {
            State::Node => self.node().map(Some),
            State::Directory => self.entry().map(Some),
            _ => Ok(None),
        }
    }

    /// Returns a reader of the contents that [`Event::File`] announced. It ends where they end,
    /// and fails where the NAR ends before them.
    pub fn contents(&mut self) -> Contents<'_, R> {
        Contents { reader: self }
    }

    /// Copies the contents that [`Event::File`] announced.
    ///
    /// # Errors
    /// Fails when source or destination do, and when the NAR is cut off.
    pub fn copy_contents(&mut self, destination: &mut impl Write) -> Result<(), NarError> {
        while let State::Contents { size, left } = self.state
            && left > 0
        {
            let buffered = self.fill()?;
            if buffered == 0 {
                return Err(NarError::CutOff {
                    offset: self.offset,
                });
            }
            let length = buffered.min(usize::try_from(left).unwrap_or(usize::MAX));
            destination
                .write_all(&self.source.buffer()[..length])
                .map_err(NarError::Write)?;
            self.source.consume(length);
            self.offset += length as u64;
            self.state = State::Contents {
                size,
                left: left - length as u64,
            };
        }
        Ok(())
    }

    /// Reads the rest, checking it, and that nothing follows. Returns the source at its end.
    ///
    /// # Errors
    /// Fails as [`Reader::next_event`] does, and when data follows the archive.
    pub fn finish(mut self) -> Result<R, NarError> {
        while self.next_event()?.is_some() {}
        match self.fill()? {
            0 => Ok(self.source.into_inner()),
            _ => Err(NarError::Trailing {
                offset: self.offset,
            }),
        }
    }

    fn node(&mut self) -> Result<Event, NarError> {
        self.keyword(b"(", "\"(\"")?;
        self.keyword(b"type", "\"type\"")?;
        let kind = self.string(LONGEST_KEYWORD)?;
        match &kind[..] {
            b"regular" => self.file(),
            b"directory" => {
                if self.directories.len() == DEEPEST {
                    return Err(NarError::TooDeep);
                }
                self.directories.push(Vec::new());
                self.state = State::Directory;
                Ok(Event::Directory)
            }
            b"symlink" => {
                self.keyword(b"target", "\"target\"")?;
                let target = self.string(LONGEST_TARGET)?;
                if let Some(problem) = target_problem(&target) {
                    return Err(NarError::Target { problem });
                }
                self.leave_node()?;
                Ok(Event::Symlink { target })
            }
            _ => Err(self.unexpected("\"regular\", \"directory\" or \"symlink\"", &kind)),
        }
    }

    fn file(&mut self) -> Result<Event, NarError> {
        let mut keyword = self.string(LONGEST_KEYWORD)?;
        let executable = keyword == b"executable";
        if executable {
            self.keyword(b"", "an empty string")?;
            keyword = self.string(LONGEST_KEYWORD)?;
        }
        if keyword != b"contents" {
            return Err(self.unexpected("\"executable\" or \"contents\"", &keyword));
        }
        let size = self.number()?;
        self.state = State::Contents { size, left: size };
        Ok(Event::File { executable, size })
    }

    fn entry(&mut self) -> Result<Event, NarError> {
        let keyword = self.string(LONGEST_KEYWORD)?;
        if keyword == b")" {
            self.directories.pop();
            self.leave_entry()?;
            return Ok(Event::LeaveDirectory);
        }
        if keyword != b"entry" {
            return Err(self.unexpected("\"entry\" or \")\"", &keyword));
        }
        self.keyword(b"(", "\"(\"")?;
        self.keyword(b"name", "\"name\"")?;
        let name = self.string(LONGEST_NAME)?;
        if let Some(problem) = name_problem(&name) {
            return Err(NarError::Name {
                name: shown(&name),
                problem,
            });
        }
        let previous = self
            .directories
            .last_mut()
            .expect("an entry is in a directory");
        if name <= *previous {
            return Err(NarError::Order {
                name: shown(&name),
                previous: shown(previous),
            });
        }
        previous.clone_from(&name);
        self.keyword(b"node", "\"node\"")?;
        self.state = State::Node;
        Ok(Event::Entry { name })
    }

    /// Reads the end of a file or symlink, and of the entry that it is.
    fn leave_node(&mut self) -> Result<(), NarError> {
        self.keyword(b")", "\")\"")?;
        self.leave_entry()
    }

    /// Reads the end of the entry that a complete node is.
    fn leave_entry(&mut self) -> Result<(), NarError> {
        if self.directories.is_empty() {
            self.state = State::End;
            return Ok(());
        }
        self.keyword(b")", "\")\"")?;
        self.state = State::Directory;
        Ok(())
    }

    fn keyword(&mut self, keyword: &[u8], expected: &'static str) -> Result<(), NarError> {
        let found = self.string(LONGEST_KEYWORD)?;
        if found == keyword {
            Ok(())
        } else {
            Err(self.unexpected(expected, &found))
        }
    }

    fn unexpected(&self, expected: &'static str, found: &[u8]) -> NarError {
        NarError::Unexpected {
            offset: self.offset,
            expected,
            found: shown(found),
        }
    }

    fn number(&mut self) -> Result<u64, NarError> {
        let mut bytes = [0; 8];
        self.bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn string(&mut self, most: usize) -> Result<Vec<u8>, NarError> {
        let length = self.number()?;
        let Some(size) = usize::try_from(length).ok().filter(|size| *size <= most) else {
            return Err(NarError::TooLong {
                offset: self.offset,
                length,
                most,
            });
        };
        let mut string = vec![0; size];
        self.bytes(&mut string)?;
        self.skip_padding(length)?;
        Ok(string)
    }

    fn skip_padding(&mut self, length: u64) -> Result<(), NarError> {
        let mut zeros = [0; 8];
        let zeros = &mut zeros[..padding(length)];
        self.bytes(zeros)?;
        match zeros.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(NarError::Padding {
                offset: self.offset,
            }),
        }
    }

    fn bytes(&mut self, buffer: &mut [u8]) -> Result<(), NarError> {
        let offset = self.offset;
        self.source
            .read_exact(buffer)
            .map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => NarError::CutOff { offset },
                _ => NarError::Read { offset, source },
            })?;
        self.offset += buffer.len() as u64;
        Ok(())
    }

    /// Returns how many bytes are buffered: none only at the end of the source.
    fn fill(&mut self) -> Result<usize, NarError> {
        let offset = self.offset;
        loop {
            match self.source.fill_buf() {
                Ok(buffer) => return Ok(buffer.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(NarError::Read { offset, source }),
            }
        }
    }

    fn skip_contents(&mut self) -> Result<(), NarError> {
        self.copy_contents(&mut io::sink())
    }
}

impl<R: Read> Read for Contents<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let State::Contents { size, left } = self.reader.state else {
            return Ok(0);
        };
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.reader.source.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            let error = NarError::CutOff {
                offset: self.reader.offset,
            };
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error));
        }
        self.reader.offset += read as u64;
        self.reader.state = State::Contents {
            size,
            left: left - read as u64,
        };
        Ok(read)
    }
}
