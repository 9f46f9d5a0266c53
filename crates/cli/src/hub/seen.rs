//! The highest sequence seen of each live pointer, so that an old one cannot be passed off as the present.

use std::io;
use std::path::{Path, PathBuf};

use env_spec::generation::LivePointer;
use url::Url;

use crate::error::{CommandError, Outcome};

/// A number and a line feed.
const LARGEST: u64 = 64;

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

    /// Refuses a pointer that is older than one seen before, and remembers it otherwise.
    pub(super) fn check(&self, pointer: &LivePointer) -> Outcome {
        let folder = self.folder.join(pointer.environment.owner());
        let path = folder.join(pointer.environment.name());
        let known = match host::fs::read_bounded(&path, LARGEST) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).trim().parse().unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error.into()),
        };
        if pointer.sequence < known {
            let text = format!(
                "the hub gave an old live pointer of {} (sequence {}, but {known} was seen before): it was restored from a backup, or somebody replays the past",
                pointer.environment, pointer.sequence
            );
            return Err(CommandError::user(text).hint(format!(
                "if the hub's owner confirms that, remove {}",
                path.display()
            )));
        }
        if pointer.sequence > known {
            fs_err::create_dir_all(&folder)?;
            host::fs::write_atomic(&path, format!("{}\n", pointer.sequence).as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use env_spec::Digest;

    use super::*;

    #[test]
    fn a_replayed_pointer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let seen = Seen::in_folder(folder.path(), &"http://127.0.0.1:1".parse().unwrap());
        let pointer = |sequence| LivePointer {
            environment: "demo/app".parse().unwrap(),
            number: 1,
            digest: Digest::of(b""),
            sequence,
            time: String::new(),
        };
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
