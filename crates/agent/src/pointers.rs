//! The highest sequence of each live pointer that this node has seen, so that none can be replayed.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use env_spec::believe::Seen;
use env_spec::generation::LivePointer;
use env_spec::{Digest, EnvironmentName, Pin, Signed, TrustedKeys};
use serde::{Deserialize, Serialize};

use crate::error::AgentError;
use crate::notes::{Lasting, Notes};

/// Written to disk: fields may be added, never changed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Highest {
    environment: EnvironmentName,
    sequence: u64,
    /// The generation it pointed at; not known of notes that older agents wrote.
    #[serde(default)]
    digest: Option<Digest>,
}

/// The highest sequences.
#[derive(Debug)]
pub(crate) struct Pointers {
    notes: Notes,
    writing: Mutex<()>,
}

impl Pointers {
    pub(crate) fn open(folder: PathBuf) -> Result<Self, AgentError> {
        Ok(Self {
            notes: Notes::open(folder, Lasting::Always)?,
            writing: Mutex::new(()),
        })
    }

    /// Believes a pointer if a trusted key signed it, it is of this environment, and no newer one was seen.
    pub(crate) fn accept(
        &self,
        signed: &Signed,
        environment: &EnvironmentName,
        trusted: &TrustedKeys,
    ) -> Result<Pin, AgentError> {
        let pointer = LivePointer::believe(signed, environment, trusted)?;
        let name = Digest::of(environment.to_string().as_bytes()).hex();
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // A note that cannot be read is not the same as none: that would let an old pointer pass.
        let highest = self.notes.read_or_refuse::<Highest>(&name)?;
        let seen = highest.map(|highest| Seen {
            sequence: highest.sequence,
            digest: highest.digest,
        });
        if let Some(seen) = seen {
            pointer.check_after(seen)?;
        }
        if seen.is_none_or(|seen| pointer.sequence > seen.sequence) {
            self.notes.write(
                &name,
                &Highest {
                    environment: environment.clone(),
                    sequence: pointer.sequence,
                    digest: Some(pointer.digest),
                },
            )?;
        }
        Ok(pointer.pin())
    }
}

#[cfg(test)]
mod tests {
    use env_spec::believe::PointerError;
    use nix_data::SecretKey;

    use super::*;

    #[test]
    fn a_lower_sequence_than_was_seen_is_refused_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let key = SecretKey::generate_from_seed("acme-1", [7; 32]).unwrap();
        let mut trusted = TrustedKeys::default();
        trusted.add("acme", key.public_key());
        let environment: EnvironmentName = "acme/api".parse().unwrap();
        let pointer = |sequence, environment: &EnvironmentName| {
            let pointer = LivePointer {
                environment: environment.clone(),
                number: sequence,
                digest: Digest::of(b""),
                sequence,
                time: String::new(),
            };
            Signed::new(&pointer, &key).unwrap()
        };
        let open = || Pointers::open(folder.path().join("pointers")).unwrap();
        open()
            .accept(&pointer(5, &environment), &environment, &trusted)
            .unwrap();
        open()
            .accept(&pointer(5, &environment), &environment, &trusted)
            .unwrap();
        let error = open()
            .accept(&pointer(4, &environment), &environment, &trusted)
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("is a replay: it has sequence 4, and 5 was seen"),
            "{error}"
        );
        let other: EnvironmentName = "acme/web".parse().unwrap();
        assert!(
            open().accept(&pointer(4, &other), &other, &trusted).is_ok(),
            "sequences are per environment"
        );
        let error = open()
            .accept(&pointer(9, &other), &environment, &trusted)
            .unwrap_err();
        assert!(
            matches!(error, AgentError::Pointer(PointerError::Foreign { .. })),
            "{error}"
        );
        let forked = LivePointer {
            environment: environment.clone(),
            number: 5,
            digest: Digest::of(b"another"),
            sequence: 5,
            time: String::new(),
        };
        let forked = Signed::new(&forked, &key).unwrap();
        let error = open().accept(&forked, &environment, &trusted).unwrap_err();
        assert!(
            matches!(error, AgentError::Pointer(PointerError::Twofold { .. })),
            "{error}"
        );
        // A damaged note must not count as none.
        let name = Digest::of(environment.to_string().as_bytes()).hex();
        let note = folder.path().join(format!("pointers/{name}.json"));
        fs_err::write(note, "damaged").unwrap();
        let error = open()
            .accept(&pointer(1, &environment), &environment, &trusted)
            .unwrap_err();
        assert!(matches!(error, AgentError::State { .. }), "{error}");
    }
}
