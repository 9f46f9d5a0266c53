//! The highest sequence seen of each live pointer, so that an old or second one cannot be passed off as the present.

use std::io;
use std::path::{Path, PathBuf};

use env_spec::generation::LivePointer;
use env_spec::{Digest, EnvironmentName};
use url::Url;

use crate::error::{CommandError, Outcome};

/// A number, a digest and a line feed.
const LARGEST: u64 = 256;

/// The pointers of one hub.
#[derive(Debug)]
pub(super) struct Seen {
    folder: PathBuf,
}

impl Seen {
    pub(super) fn in_folder(state: &Path, hub: &Url) -> Self {
        let host = hub.host_str().unwrap_or("unknown");
        let port = hub.port_or_known_default().unwrap_or_default();
        Self {
            folder: state.join("seen").join(format!("{host}_{port}")),
        }
    }

    /// Returns the highest sequence seen, with the generation that it pointed at where that was remembered.
    fn known(&self, name: &EnvironmentName) -> Outcome<Option<(u64, Option<Digest>)>> {
        let path = self.path(name);
        let bytes = match host::fs::read_bounded(&path, LARGEST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut words = text.split_whitespace();
        let sequence = words.next().and_then(|word| word.parse().ok());
        let digest = words.next().map(str::parse).transpose();
        match (sequence, digest, words.next()) {
            (Some(sequence), Ok(digest), None) => Ok(Some((sequence, digest))),
            _ => Err(CommandError::user(format!(
                "{} is damaged: it should say which live pointer of {name} was seen last",
                path.display()
            ))
            .hint(format!(
                "if `nival generations {name}` shows nothing strange, remove the file"
            ))),
        }
    }

    fn path(&self, name: &EnvironmentName) -> PathBuf {
        self.folder.join(name.owner()).join(name.name())
    }

    /// Refuses that there is no pointer where one was seen before.
    pub(super) fn check_none(&self, name: &EnvironmentName) -> Outcome {
        match self.known(name)? {
            Some((known, _)) if known > 0 => Err(CommandError::user(format!(
                "the hub gave no live pointer of {name}, but one with sequence {known} was seen before: it lost its data, or somebody hides the present"
            ))
            .hint(self.how_to_forget(name))),
            _ => Ok(()),
        }
    }

    fn how_to_forget(&self, name: &EnvironmentName) -> String {
        format!(
            "if the hub's owner confirms that, remove {}",
            self.path(name).display()
        )
    }

    /// Refuses a pointer that is older than one seen before or contradicts it, and remembers it otherwise.
    pub(super) fn check(&self, pointer: &LivePointer) -> Outcome {
        let name = &pointer.environment;
        let known = self.known(name)?;
        if let Some((known, _)) = known
            && pointer.sequence < known
        {
            let text = format!(
                "the hub gave an old live pointer of {name} (sequence {}, but {known} was seen before): it was restored from a backup, or somebody replays the past",
                pointer.sequence
            );
            return Err(CommandError::user(text).hint(self.how_to_forget(name)));
        }
        if let Some((known, Some(digest))) = known
            && pointer.sequence == known
            && pointer.digest != digest
        {
            let text = format!(
                "the hub gave a second live pointer of {name} with sequence {known}, to {} and not to {digest} as before: it was restored from a backup, or shows each reader another present",
                pointer.digest
            );
            return Err(CommandError::user(text).hint(self.how_to_forget(name)));
        }
        let seen = (pointer.sequence, Some(pointer.digest));
        if known != Some(seen) {
            let path = self.path(name);
            fs_err::create_dir_all(self.folder.join(name.owner()))?;
            let text = format!("{} {}\n", pointer.sequence, pointer.digest);
            host::fs::write_atomic(&path, text.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(state: &Path) -> Seen {
        Seen::in_folder(state, &"http://127.0.0.1:1".parse().unwrap())
    }

    fn pointer_to(content: &[u8], sequence: u64) -> LivePointer {
        LivePointer {
            environment: "demo/app".parse().unwrap(),
            number: 1,
            digest: Digest::of(content),
            sequence,
            time: String::new(),
        }
    }

    #[test]
    fn two_pointers_with_one_sequence_are_not_both_believed() {
        let folder = tempfile::tempdir().unwrap();
        let seen = seen(folder.path());
        seen.check(&pointer_to(b"one", 2)).unwrap();
        let error = seen.check(&pointer_to(b"two", 2)).unwrap_err();
        let lines = error.lines();
        assert!(lines[0].contains("second live pointer"), "{lines:?}");
        seen.check(&pointer_to(b"one", 2)).unwrap();
        seen.check(&pointer_to(b"two", 3)).unwrap();
    }

    #[test]
    fn a_file_without_a_digest_is_read_and_gets_one() {
        let folder = tempfile::tempdir().unwrap();
        let seen = seen(folder.path());
        let path = seen.path(&"demo/app".parse().unwrap());
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, "2\n").unwrap();
        seen.check(&pointer_to(b"one", 1)).unwrap_err();
        seen.check(&pointer_to(b"one", 2)).unwrap();
        seen.check(&pointer_to(b"two", 2)).unwrap_err();
    }

    #[test]
    fn a_pointer_that_was_seen_cannot_be_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let seen = seen(folder.path());
        let name = "demo/app".parse().unwrap();
        seen.check_none(&name).unwrap();
        seen.check(&pointer_to(b"one", 1)).unwrap();
        seen.check_none(&name).unwrap_err();
    }

    #[test]
    fn a_replayed_pointer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let seen = seen(folder.path());
        let pointer = |sequence| pointer_to(b"", sequence);
        seen.check(&pointer(2)).unwrap();
        seen.check(&pointer(2)).unwrap();
        let error = seen.check(&pointer(1)).unwrap_err();
        assert!(
            error.lines()[0].contains("sequence 1, but 2"),
            "{:?}",
            error.lines()
        );
        seen.check(&pointer(3)).unwrap();
    }
}
