//! A NAR as files on disk: every name is opened relative to its folder, so that nothing leads out of the place.

use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use fs_err as fs;
use nix_data::nar::{Event, NarError, Reader};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};

/// Contents pass through a buffer of this size.
const BUFFER: usize = 256 << 10;

/// All store files are of this second, as Nix has them.
const TIME: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
const TIMES: Timestamps = Timestamps {
    last_access: TIME,
    last_modification: TIME,
};

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const NEW_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Why a NAR was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The NAR is at fault.
    #[error(transparent)]
    Nar(#[from] NarError),
    /// The disk is at fault.
    #[error("cannot write {name:?} of the NAR")]
    Write {
        /// The entry; empty for the root.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl UnpackError {
    /// Tells whether the file system is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let kind = match self {
            Self::Write { source, .. } | Self::Nar(NarError::Write(source)) => source.kind(),
            Self::Nar(_) => return false,
        };
        matches!(
            kind,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// Unpacks a NAR as `target`, which must not exist yet, and returns the source at its end.
///
/// Files get mode 0444 or 0555, folders 0555, everything the time 1. Nothing is ever setuid.
///
/// # Errors
/// Fails when the NAR is malformed or the disk refuses; what was written so far stays.
pub fn unpack<R: Read>(source: R, target: &Path) -> Result<R, UnpackError> {
    let source = unpack_unsealed(source, target, u64::MAX)?;
    seal(target).map_err(|source| UnpackError::Write {
        name: String::new(),
        source,
    })?;
    Ok(source)
}

/// As [`unpack`], but a folder at the root stays writable, so that it can be moved; [`seal`] follows. A file that says
/// that it is larger than `nar_size` is refused before any space is asked for: nobody has checked the bytes yet.
pub(crate) fn unpack_unsealed<R: Read>(
    source: R,
    target: &Path,
    nar_size: u64,
) -> Result<R, UnpackError> {
    let parent = target
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = target
        .file_name()
        .unwrap_or_default()
        .as_encoded_bytes()
        .to_vec();
    let parent = rustix::fs::openat(CWD, parent, FOLDER, Mode::empty()).map_err(failed(&name))?;
    let mut reader = Reader::new(source);
    let mut unpacker = Unpacker {
        folders: Vec::new(),
        parent,
        name,
        buffer: vec![0; BUFFER],
        nar_size,
    };
    while let Some(event) = reader.next_event()? {
        unpacker.take(event, &mut reader)?;
    }
    Ok(reader.finish()?)
}

/// Gives the root of an unpacked NAR its final mode and time.
pub(crate) fn seal(target: &Path) -> io::Result<()> {
    if fs::symlink_metadata(target)?.is_dir() {
        rustix::fs::chmod(target, Mode::from_raw_mode(0o555))?;
    }
    Ok(rustix::fs::utimensat(
        CWD,
        target,
        &TIMES,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

struct Unpacker {
    /// The open folders from the root to here.
    folders: Vec<OwnedFd>,
    parent: OwnedFd,
    /// The name of what comes next.
    name: Vec<u8>,
    buffer: Vec<u8>,
    /// What the whole NAR may have.
    nar_size: u64,
}

fn failed<E: Into<io::Error>>(name: &[u8]) -> impl FnOnce(E) -> UnpackError {
    move |error| UnpackError::Write {
        name: String::from_utf8_lossy(name).into_owned(),
        source: error.into(),
    }
}

impl Unpacker {
    fn here(&self) -> BorrowedFd<'_> {
        self.folders.last().unwrap_or(&self.parent).as_fd()
    }

    fn take<R: Read>(&mut self, event: Event, reader: &mut Reader<R>) -> Result<(), UnpackError> {
        match event {
            Event::Entry { name } => {
                self.name = name;
                Ok(())
            }
            Event::Directory => self.enter().map_err(failed(&self.name)),
            Event::LeaveDirectory => self.leave().map_err(failed(b"")),
            Event::Symlink { target } => self.symlink(&target).map_err(failed(&self.name)),
            Event::File { executable, size } => self.file(executable, size, reader),
        }
    }

    fn enter(&mut self) -> io::Result<()> {
        rustix::fs::mkdirat(self.here(), &self.name[..], Mode::from_raw_mode(0o755))?;
        let folder = rustix::fs::openat(self.here(), &self.name[..], FOLDER, Mode::empty())?;
        self.folders.push(folder);
        Ok(())
    }

    fn leave(&mut self) -> io::Result<()> {
        let folder = self
            .folders
            .pop()
            .expect("the reader leaves only what it entered");
        if !self.folders.is_empty() {
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o555))?;
            rustix::fs::futimens(&folder, &TIMES)?;
        }
        Ok(())
    }

    fn symlink(&self, target: &[u8]) -> io::Result<()> {
        rustix::fs::symlinkat(target, self.here(), &self.name[..])?;
        Ok(rustix::fs::utimensat(
            self.here(),
            &self.name[..],
            &TIMES,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    fn file<R: Read>(
        &mut self,
        executable: bool,
        size: u64,
        reader: &mut Reader<R>,
    ) -> Result<(), UnpackError> {
        if size > self.nar_size {
            let text = format!("a file of {size} bytes in a NAR of {}", self.nar_size);
            let source = io::Error::new(io::ErrorKind::InvalidData, text);
            return Err(NarError::Read { offset: 0, source }.into());
        }
        let mode = Mode::from_raw_mode(if executable { 0o555 } else { 0o444 });
        let created = rustix::fs::openat(self.here(), &self.name[..], NEW_FILE, mode);
        #[expect(
            clippy::disallowed_types,
            reason = "it was opened by its folder and has no path; errors name the entry"
        )]
        let mut file = std::fs::File::from(created.map_err(failed(&self.name))?);
        if size > BUFFER as u64 {
            // Asking for the space at once says early that there is none, and keeps large files in one piece.
            match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size) {
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
                Err(error) => return Err(failed(&self.name)(error)),
            }
        }
        let mut contents = reader.contents();
        loop {
            match contents.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(length) => file
                    .write_all(&self.buffer[..length])
                    .map_err(failed(&self.name))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let offset = reader.offset();
                    return Err(NarError::Read { offset, source }.into());
                }
            }
        }
        rustix::fs::fchmod(&file, mode).map_err(failed(&self.name))?;
        rustix::fs::futimens(&file, &TIMES).map_err(failed(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use nix_data::nar::Node;

    use super::*;

    fn tree() -> Node {
        let file = |executable, text: &str| Node::File {
            executable,
            contents: text.into(),
        };
        Node::Directory(BTreeMap::from([
            (
                b"bin".to_vec(),
                Node::Directory(BTreeMap::from([(b"run".to_vec(), file(true, "#!"))])),
            ),
            (b"link".to_vec(), Node::Symlink(b"/etc/passwd".to_vec())),
            (b"text".to_vec(), file(false, &"long ".repeat(100_000))),
        ]))
    }

    #[test]
    fn modes_times_and_contents_are_as_nix_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        unpack(&tree().write_to(Vec::new()).unwrap()[..], &target).unwrap();
        for (name, mode) in [
            ("", 0o555),
            ("bin", 0o555),
            ("bin/run", 0o555),
            ("text", 0o444),
        ] {
            let metadata = fs::metadata(target.join(name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{name}");
            assert_eq!(metadata.mtime(), 1, "{name}");
        }
        assert_eq!(
            fs::read_link(target.join("link")).unwrap(),
            Path::new("/etc/passwd")
        );
        assert_eq!(
            fs::symlink_metadata(target.join("link")).unwrap().mtime(),
            1
        );
        assert_eq!(
            crate::pack::nar_hash_and_size(&target).unwrap(),
            tree().nar_hash().unwrap()
        );
    }

    #[test]
    fn what_exists_is_never_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        fs::create_dir(&target).unwrap();
        assert!(unpack(&tree().write_to(Vec::new()).unwrap()[..], &target).is_err());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        let file = Node::File {
            executable: false,
            contents: b"x".to_vec(),
        };
        assert!(unpack(&file.write_to(Vec::new()).unwrap()[..], &link).is_err());
        assert!(!folder.path().join("elsewhere").exists());
    }

    #[test]
    fn a_file_that_claims_more_than_the_nar_has_gets_no_space() {
        let mut nar = Vec::new();
        for text in ["nix-archive-1", "(", "type", "regular", "contents"] {
            nar.extend((text.len() as u64).to_le_bytes());
            nar.extend(text.as_bytes());
            nar.resize(nar.len().next_multiple_of(8), 0);
        }
        nar.extend((1_u64 << 62).to_le_bytes());
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("unpacked");
        let error = unpack_unsealed(&nar[..], &target, 1_000).unwrap_err();
        assert!(
            matches!(error, UnpackError::Nar(_)) && !error.is_full(),
            "{error:?}"
        );
        assert!(!target.exists());
    }
}
