//! Files on disk as a NAR.

use std::io::{self, Read as _, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use nix_data::nar::{NarError, Writer};
use nix_data::{Hash, HashingWriter};

/// Contents pass through a buffer of this size.
const BUFFER: usize = 256 << 10;

/// Why files were not packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file cannot be read.
    #[error("cannot pack {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A device, socket or pipe.
    #[error("cannot pack {}: it is neither file, folder nor symlink", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// The NAR cannot be written, or cannot have this name or target.
    #[error("cannot write the NAR of {}", path.display())]
    Nar {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: NarError,
    },
}

/// Writes the NAR of a file, folder or symlink, and returns the destination.
///
/// # Errors
/// Fails when a file cannot be read, is of no kind that a NAR has, or changes meanwhile.
pub fn write_nar<W: Write>(path: &Path, destination: W) -> Result<W, PackError> {
    let mut packer = Packer {
        writer: Writer::new(destination),
        buffer: vec![0; BUFFER],
    };
    packer.node(path)?;
    packer.writer.finish().map_err(nar_error(path))
}

/// Returns the SHA-256 and the length of the NAR.
///
/// # Errors
/// Fails as [`write_nar`] does.
pub fn nar_hash_and_size(path: &Path) -> Result<(Hash, u64), PackError> {
    let (hash, size, _) = write_nar(path, HashingWriter::new(io::sink()))?.finish();
    Ok((hash, size))
}

struct Packer<W: Write> {
    writer: Writer<W>,
    buffer: Vec<u8>,
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> PackError {
    move |source| PackError::Read {
        path: path.to_owned(),
        source,
    }
}

fn nar_error(path: &Path) -> impl FnOnce(NarError) -> PackError {
    move |source| PackError::Nar {
        path: path.to_owned(),
        source,
    }
}

impl<W: Write> Packer<W> {
    fn node(&mut self, path: &Path) -> Result<(), PackError> {
        let metadata = fs::symlink_metadata(path).map_err(read_error(path))?;
        if metadata.is_symlink() {
            let target = fs::read_link(path)
                .map_err(read_error(path))?
                .into_os_string()
                .into_vec();
            self.writer.symlink(&target).map_err(nar_error(path))
        } else if metadata.is_dir() {
            self.folder(path)
        } else if metadata.is_file() {
            self.file(path)
        } else {
            Err(PackError::Kind {
                path: path.to_owned(),
            })
        }
    }

    fn folder(&mut self, path: &Path) -> Result<(), PackError> {
        let entries = fs::read_dir(path).map_err(read_error(path))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names: Vec<_> = names.collect::<Result<_, _>>().map_err(read_error(path))?;
        names.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        self.writer.directory().map_err(nar_error(path))?;
        for name in names {
            self.writer
                .entry(name.as_bytes())
                .map_err(nar_error(path))?;
            self.node(&path.join(&name))?;
        }
        self.writer.leave_directory().map_err(nar_error(path))
    }

    fn file(&mut self, path: &Path) -> Result<(), PackError> {
        let mut file = fs::File::open(path).map_err(read_error(path))?;
        // Of the open file, so that size and contents belong together.
        let metadata = file.metadata().map_err(read_error(path))?;
        let executable = metadata.permissions().mode() & 0o100 != 0;
        self.writer
            .begin_file(executable, metadata.len())
            .map_err(nar_error(path))?;
        loop {
            match file.read(&mut self.buffer).map_err(read_error(path))? {
                0 => break,
                length => self
                    .writer
                    .write_contents(&self.buffer[..length])
                    .map_err(nar_error(path))?,
            }
        }
        self.writer.end_file().map_err(nar_error(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_and_a_pipe_are_named() {
        let error = nar_hash_and_size(Path::new("/nonexistent/path")).unwrap_err();
        assert_eq!(error.to_string(), "cannot pack /nonexistent/path");
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
        let error = nar_hash_and_size(folder.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("pipe: it is neither file, folder nor symlink"),
            "{error}"
        );
    }
}
