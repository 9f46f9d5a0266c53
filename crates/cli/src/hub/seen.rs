//! The highest sequence seen of each live pointer and revocation list, so that an old or second one cannot be passed off as
//! the present.

use std::io;
use std::path::{Path, PathBuf};

use env_spec::EnvironmentName;
use env_spec::believe::{Seen, TakenBack};
use env_spec::generation::LivePointer;
use url::Url;

use crate::error::{CommandError, Outcome};

/// A number, a digest and a line feed.
const LARGEST: u64 = 256;

/// What was seen of one hub.
#[derive(Debug)]
pub(super) struct Memory {
    folder: PathBuf,
}

/// A thing that counts up with every change.
#[derive(Debug)]
pub(super) struct Subject {
    /// Where it is remembered, below the hub's folder.
    place: PathBuf,
    /// What it is, for people.
    what: String,
    /// How a person looks at it.
    look: String,
}

impl Subject {
    /// The live pointer of an environment.
    pub(super) fn pointer(name: &EnvironmentName) -> Self {
        Self {
            place: Path::new(name.owner()).join(name.name()),
            what: format!("live pointer of {name}"),
            look: format!("nival generations {name}"),
        }
    }

    /// The revocation list of an owner. No owner's name begins with a dot, so it is in no owner's way.
    pub(super) fn revocations(owner: &str) -> Self {
        Self {
            place: Path::new(".revocations").join(owner),
            what: format!("revocation list of {owner}"),
            look: format!("nival revocations {owner}"),
        }
    }
}

impl Memory {
    pub(super) fn in_folder(state: &Path, hub: &Url) -> Self {
        let host = hub.host_str().unwrap_or("unknown");
        let port = hub.port_or_known_default().unwrap_or_default();
        Self {
            folder: state.join("seen").join(format!("{host}_{port}")),
        }
    }

    /// Returns the newest that was seen.
    fn known(&self, subject: &Subject) -> Outcome<Option<Seen>> {
        let path = self.path(subject);
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
            (Some(sequence), Ok(digest), None) => Ok(Some(Seen { sequence, digest })),
            _ => Err(CommandError::user(format!(
                "{} is damaged: it should say which {} was seen last",
                path.display(),
                subject.what
            ))
            .hint(format!(
                "if `{}` shows nothing strange, remove the file",
                subject.look
            ))),
        }
    }

    fn path(&self, subject: &Subject) -> PathBuf {
        self.folder.join(&subject.place)
    }

    /// Refuses that there is none where one was seen before.
    pub(super) fn check_none(&self, subject: &Subject) -> Outcome {
        match self.known(subject)? {
            Some(known) if known.sequence > 0 => Err(CommandError::user(format!(
                "the hub gave no {}, but one with sequence {} was seen before: it lost its data, or somebody hides the present",
                subject.what, known.sequence
            ))
            .hint(self.how_to_forget(subject))),
            _ => Ok(()),
        }
    }

    fn how_to_forget(&self, subject: &Subject) -> String {
        format!(
            "if the hub's owner confirms that, remove {}",
            self.path(subject).display()
        )
    }

    /// Refuses a pointer that is older than one seen before or contradicts it, and remembers it otherwise.
    pub(super) fn check(&self, pointer: &LivePointer) -> Outcome {
        let subject = Subject::pointer(&pointer.environment);
        self.advance(&subject, pointer.seen())
    }

    /// Does the same for an owner's revocation list.
    pub(super) fn check_revocations(&self, owner: &str, next: Seen) -> Outcome {
        self.advance(&Subject::revocations(owner), next)
    }

    fn advance(&self, subject: &Subject, next: Seen) -> Outcome {
        let known = self.known(subject)?;
        let what = &subject.what;
        let taken_back = known.and_then(|known| known.check_next(next).err());
        let text = taken_back.map(|back| match back {
            TakenBack::Replayed { found, seen } => format!(
                "the hub gave an old {what} (sequence {found}, but {seen} was seen before): it was restored from a backup, or somebody replays the past"
            ),
            TakenBack::Twofold { sequence, seen } => format!(
                "the hub gave a second {what} with sequence {sequence}, where the one before said {seen}: it was restored from a backup, or shows each reader another present"
            ),
        });
        if let Some(text) = text {
            return Err(CommandError::user(text).hint(self.how_to_forget(subject)));
        }
        if known != Some(next) {
            let path = self.path(subject);
            if let Some(folder) = path.parent() {
                fs_err::create_dir_all(folder)?;
            }
            let digest = next.digest.map(|digest| format!(" {digest}"));
            let line = format!("{}{}\n", next.sequence, digest.unwrap_or_default());
            host::fs::write_atomic(&path, line.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use env_spec::Digest;

    use super::*;

    fn seen(state: &Path) -> Memory {
        Memory::in_folder(state, &"http://127.0.0.1:1".parse().unwrap())
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
        let path = seen.path(&Subject::pointer(&"demo/app".parse().unwrap()));
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
        let subject = Subject::pointer(&"demo/app".parse().unwrap());
        seen.check_none(&subject).unwrap();
        seen.check(&pointer_to(b"one", 1)).unwrap();
        seen.check_none(&subject).unwrap_err();
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

    #[test]
    fn a_revocation_list_is_remembered_beside_the_pointers() {
        let folder = tempfile::tempdir().unwrap();
        let seen = seen(folder.path());
        let list = |sequence, record| {
            let digest = Some(record);
            seen.check_revocations("demo", Seen { sequence, digest })
        };
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        seen.check(&pointer_to(b"one", 7)).unwrap();
        seen.check_none(&Subject::revocations("demo")).unwrap();
        list(2, one).unwrap();
        for (sequence, digest, part) in [
            (1, one, "old revocation list of demo (sequence 1, but 2"),
            (2, two, "second revocation list of demo"),
        ] {
            let error = list(sequence, digest).unwrap_err();
            assert!(error.lines()[0].contains(part), "{:?}", error.lines());
        }
        seen.check_none(&Subject::revocations("demo")).unwrap_err();
        list(3, two).unwrap();
        seen.check(&pointer_to(b"one", 7)).unwrap();
    }
}
