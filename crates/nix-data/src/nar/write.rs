//! Writing a NAR in constant memory, so that each tree has one spelling.

use std::io::{self, BufWriter, Read, Write};

use super::error::{NarError, shown};
use super::{DEEPEST, MAGIC, name_problem, padding, target_problem};

/// Collects the small strings; large contents pass by it.
const BUFFER: usize = 64 << 10;

/// Writes a NAR step by step, refusing what no reader would take.
///
/// The root is one call of [`directory`](Self::directory), [`symlink`](Self::symlink) or
/// [`file`](Self::file); within a directory each of these follows an [`entry`](Self::entry),
/// whose names ascend.
#[derive(Debug)]
pub struct Writer<W: Write> {
    destination: BufWriter<W>,
    state: State,
    /// The directories around the current place, each with its last entry's name.
    directories: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was written.
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

impl<W: Write> Writer<W> {
    /// Starts; nothing is written yet.
    pub fn new(destination: W) -> Self {
        Self {
            destination: BufWriter::with_capacity(BUFFER, destination),
            state: State::Start,
            directories: Vec::new(),
        }
    }

    /// Begins a directory, which [`leave_directory`](Self::leave_directory) ends.
    ///
    /// # Errors
    /// Fails when the destination does, in the wrong place, and for directories too deep.
    pub fn directory(&mut self) -> Result<(), NarError> {
        if self.directories.len() == DEEPEST {
            return Err(NarError::TooDeep);
        }
        self.begin_node("a directory")?;
        self.string(b"directory")?;
        self.directories.push(Vec::new());
        self.state = State::Directory;
        Ok(())
    }

    /// Names the thing that comes next in the directory.
    ///
    /// # Errors
    /// Fails when the destination does, in the wrong place, and for names that no file may have
    /// or that do not ascend.
    pub fn entry(&mut self, name: &[u8]) -> Result<(), NarError> {
        if let Some(problem) = name_problem(name) {
            return Err(NarError::Name {
                name: shown(name),
                problem,
            });
        }
        let (State::Directory, Some(previous)) = (self.state, self.directories.last_mut()) else {
            return Err(NarError::Misuse { call: "an entry" });
        };
        if name <= previous.as_slice() {
            return Err(NarError::Order {
                name: shown(name),
                previous: shown(previous),
            });
        }
        previous.clear();
        previous.extend_from_slice(name);
        self.string(b"entry")?;
        self.string(b"(")?;
        self.string(b"name")?;
        self.string(name)?;
        self.string(b"node")?;
        self.state = State::Node;
        Ok(())
    }

    /// Ends the innermost directory.
    ///
    /// # Errors
    /// Fails when the destination does, and in the wrong place.
    pub fn leave_directory(&mut self) -> Result<(), NarError> {
        if self.state != State::Directory {
            return Err(NarError::Misuse {
                call: "the end of a directory",
            });
        }
        self.directories.pop();
        self.end_node()
    }

    /// Writes a symlink.
    ///
    /// # Errors
    /// Fails when the destination does, in the wrong place, and for targets that no symlink may have.
    pub fn symlink(&mut self, target: &[u8]) -> Result<(), NarError> {
        if let Some(problem) = target_problem(target) {
            return Err(NarError::Target { problem });
        }
        self.begin_node("a symlink")?;
        self.string(b"symlink")?;
        self.string(b"target")?;
        self.string(target)?;
        self.end_node()
    }

    /// Writes a file whose contents are read from elsewhere.
    ///
    /// # Errors
    /// Fails when source or destination do, in the wrong place, and when the source does not have
    /// exactly this size.
    pub fn file(
        &mut self,
        executable: bool,
        size: u64,
        contents: impl Read,
    ) -> Result<(), NarError> {
        self.begin_file(executable, size)?;
        // One more byte would show that the file is larger than it was said to be.
        let copied = io::copy(
            &mut contents.take(size.saturating_add(1)),
            &mut Checked(self),
        );
        copied.map_err(|error| match error.downcast::<NarError>() {
            Ok(error) => error,
            Err(source) => NarError::Read { offset: 0, source },
        })?;
        self.end_file()
    }

    /// Writes a file whose contents are in memory.
    ///
    /// # Errors
    /// Fails when the destination does, and in the wrong place.
    pub fn file_bytes(&mut self, executable: bool, contents: &[u8]) -> Result<(), NarError> {
        self.begin_file(executable, contents.len() as u64)?;
        self.write_contents(contents)?;
        self.end_file()
    }

    /// Begins a file: [`write_contents`](Self::write_contents) then gives its contents, and
    /// [`end_file`](Self::end_file) ends it.
    ///
    /// # Errors
    /// Fails when the destination does, and in the wrong place.
    pub fn begin_file(&mut self, executable: bool, size: u64) -> Result<(), NarError> {
        self.begin_node("a file")?;
        self.string(b"regular")?;
        if executable {
            self.string(b"executable")?;
            self.string(b"")?;
        }
        self.string(b"contents")?;
        self.bytes(&size.to_le_bytes())?;
        self.state = State::Contents { size, left: size };
        Ok(())
    }

    /// Writes the next bytes of a file.
    ///
    /// # Errors
    /// Fails when the destination does, in the wrong place, and when they are more than the file's size.
    pub fn write_contents(&mut self, bytes: &[u8]) -> Result<(), NarError> {
        let State::Contents { size, left } = self.state else {
            return Err(NarError::Misuse {
                call: "the contents of a file",
            });
        };
        let Some(left) = left.checked_sub(bytes.len() as u64) else {
            return Err(NarError::Contents {
                size,
                given: "more",
            });
        };
        self.bytes(bytes)?;
        self.state = State::Contents { size, left };
        Ok(())
    }

    /// Ends a file.
    ///
    /// # Errors
    /// Fails when the destination does, in the wrong place, and when contents are missing.
    pub fn end_file(&mut self) -> Result<(), NarError> {
        let State::Contents { size, left } = self.state else {
            return Err(NarError::Misuse {
                call: "the end of a file",
            });
        };
        if left > 0 {
            return Err(NarError::Contents {
                size,
                given: "fewer",
            });
        }
        self.bytes(&[0; 8][..padding(size)])?;
        self.end_node()
    }

    /// Returns the destination once the root is complete and everything is written to it.
    ///
    /// # Errors
    /// Fails when the destination does, and before the root is complete.
    pub fn finish(self) -> Result<W, NarError> {
        if self.state != State::End {
            return Err(NarError::Misuse {
                call: "the end of the archive",
            });
        }
        self.destination
            .into_inner()
            .map_err(|error| NarError::Write(error.into_error()))
    }

    fn begin_node(&mut self, call: &'static str) -> Result<(), NarError> {
        match self.state {
            State::Start => self.string(MAGIC)?,
            State::Node => {}
            _ => return Err(NarError::Misuse { call }),
        }
        self.string(b"(")?;
        self.string(b"type")
    }

    /// Ends a node and the entry that it is.
    fn end_node(&mut self) -> Result<(), NarError> {
        self.string(b")")?;
        if self.directories.is_empty() {
            self.state = State::End;
            return Ok(());
        }
        self.state = State::Directory;
        self.string(b")")
    }

    fn string(&mut self, string: &[u8]) -> Result<(), NarError> {
        let length = string.len() as u64;
        self.bytes(&length.to_le_bytes())?;
        self.bytes(string)?;
        self.bytes(&[0; 8][..padding(length)])
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), NarError> {
        self.destination.write_all(bytes).map_err(NarError::Write)
    }
}

/// Lets [`io::copy`] write contents with the writer's own checks.
struct Checked<'writer, W: Write>(&'writer mut Writer<W>);

impl<W: Write> Write for Checked<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_contents(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
