//! Which generations and live pointers are believed, and what is believed after what.

use crate::generation::{Generation, GenerationError, LivePointer};
use crate::{Digest, EnvironmentName, Pin, Reference, Signed, SignedError, TrustedKeys};

/// Why a generation's record is not believed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The record has another digest than was asked for.
    #[error("the hub sent record {found} for {wanted}: it was altered or is another one")]
    Other {
        /// What was asked for.
        wanted: Box<Reference>,
        /// The record's digest.
        found: Digest,
    },
    /// No trusted key signed it.
    #[error("the record is not believed")]
    Signed(#[from] SignedError),
    /// It is of something else, or cannot be right.
    #[error(transparent)]
    Generation(#[from] GenerationError),
}

/// Why a live pointer is not believed.
#[derive(Debug, thiserror::Error)]
pub enum PointerError {
    /// No trusted key signed it.
    #[error("the live pointer is not believed")]
    Signed(#[from] SignedError),
    /// The pointer of another environment.
    #[error("the live pointer is of {found}, not of {wanted}")]
    Foreign {
        /// Whose it is.
        found: EnvironmentName,
        /// Whose it should be.
        wanted: EnvironmentName,
    },
    /// An older one than was seen.
    #[error(
        "the live pointer of {environment} is a replay: it has sequence {found}, and {seen} was seen before; whoever serves it holds back newer ones"
    )]
    Replayed {
        /// Whose it is.
        environment: EnvironmentName,
        /// Its sequence.
        found: u64,
        /// The highest that was seen.
        seen: u64,
    },
    /// Another one than was seen under the same sequence.
    #[error(
        "two live pointers of {environment} have sequence {sequence}: this one is at {found}, one seen before at {seen}; push or roll back once more"
    )]
    Twofold {
        /// Whose they are.
        environment: EnvironmentName,
        /// Their sequence.
        sequence: u64,
        /// Where this one points.
        found: Digest,
        /// Where the other one points.
        seen: Digest,
    },
}

/// The newest that was seen of what counts up with every change: a live pointer, or a revocation list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its sequence.
    pub sequence: u64,
    /// What it said, where that was kept: the generation that a pointer points at, or a list's record.
    pub digest: Option<Digest>,
}

/// How something takes back what was seen before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenBack {
    /// It is older.
    Replayed {
        /// Its sequence.
        found: u64,
        /// The highest that was seen.
        seen: u64,
    },
    /// It says something else under the same sequence.
    Twofold {
        /// The sequence.
        sequence: u64,
        /// What was said under it before.
        seen: Digest,
    },
}

impl Seen {
    /// Tells whether what comes next takes back what was seen.
    ///
    /// # Errors
    /// Fails where it is older, and where it says something else under the same sequence.
    pub fn check_next(self, next: Self) -> Result<(), TakenBack> {
        let sequence = self.sequence;
        if next.sequence < sequence {
            return Err(TakenBack::Replayed {
                found: next.sequence,
                seen: sequence,
            });
        }
        match self.digest {
            Some(seen) if next.sequence == sequence && next.digest != Some(seen) => {
                Err(TakenBack::Twofold { sequence, seen })
            }
            _ => Ok(()),
        }
    }
}

impl Generation {
    /// Believes a record if it is the one that was asked for and a trusted key signed it.
    ///
    /// # Errors
    /// Fails for another record, one that no trusted key signed, and one that cannot be right.
    pub fn believe(
        signed: &Signed,
        reference: &Reference,
        trusted: &TrustedKeys,
    ) -> Result<(Self, Pin), RecordError> {
        let digest = signed.digest();
        if reference.digest.is_some_and(|wanted| wanted != digest) {
            return Err(RecordError::Other {
                wanted: Box::new(reference.clone()),
                found: digest,
            });
        }
        let environment = &reference.environment;
        let subject = match reference.number {
            Some(number) => format!("generation {environment}:{number}"),
            None => format!("generation {reference}"),
        };
        let generation: Self = signed.verify(&subject, environment.owner(), trusted)?;
        generation.check(environment, reference.number)?;
        let pin = Pin {
            hub: None,
            environment: environment.clone(),
            number: generation.number,
            digest,
        };
        Ok((generation, pin))
    }
}

impl LivePointer {
    /// Believes a pointer by itself: a trusted key signed it, and it is of this environment.
    ///
    /// # Errors
    /// Fails when it is not.
    pub fn believe(
        signed: &Signed,
        environment: &EnvironmentName,
        trusted: &TrustedKeys,
    ) -> Result<Self, PointerError> {
        let subject = format!("the live pointer of {environment}");
        let pointer: Self = signed.verify(&subject, environment.owner(), trusted)?;
        if pointer.environment != *environment {
            return Err(PointerError::Foreign {
                found: pointer.environment,
                wanted: environment.clone(),
            });
        }
        Ok(pointer)
    }

    /// Refuses a pointer that takes back what was seen.
    ///
    /// # Errors
    /// Fails for an older pointer, and for another one of the same sequence.
    pub fn check_after(&self, seen: Seen) -> Result<(), PointerError> {
        let environment = || self.environment.clone();
        seen.check_next(self.seen()).map_err(|back| match back {
            TakenBack::Replayed { found, seen } => PointerError::Replayed {
                environment: environment(),
                found,
                seen,
            },
            TakenBack::Twofold { sequence, seen } => PointerError::Twofold {
                environment: environment(),
                sequence,
                found: self.digest,
                seen,
            },
        })
    }

    /// Returns what is to be remembered of it.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            sequence: self.sequence,
            digest: Some(self.digest),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nix_data::SecretKey;

    use super::*;
    use crate::generation::RECORD_VERSION;

    fn key(seed: u8) -> SecretKey {
        SecretKey::generate_from_seed(&format!("acme-{seed}"), [seed; 32]).unwrap()
    }

    fn trusted() -> TrustedKeys {
        let mut trusted = TrustedKeys::default();
        trusted.add("acme", key(1).public_key());
        trusted
    }

    fn pointer(sequence: u64, at: &[u8]) -> LivePointer {
        LivePointer {
            environment: "acme/api".parse().unwrap(),
            number: 3,
            digest: Digest::of(at),
            sequence,
            time: String::new(),
        }
    }

    #[test]
    fn a_record_is_believed_only_as_what_was_asked_for() {
        let generation = Generation {
            version: RECORD_VERSION,
            environment: "acme/api".parse().unwrap(),
            number: 3,
            parent: None,
            created: String::new(),
            author: String::new(),
            message: String::new(),
            manifest: String::new(),
            lock: Digest::of(b""),
            systems: BTreeMap::new(),
        };
        let signed = Signed::new(&generation, &key(1)).unwrap();
        let believe = |text: &str| {
            let reference: Reference = text.parse().unwrap();
            Generation::believe(&signed, &reference, &trusted())
        };
        let exact = format!("acme/api:3@{}", signed.digest());
        let (read, pin) = believe(&exact).unwrap();
        assert_eq!((read, pin.to_string()), (generation.clone(), exact));
        believe("acme/api:3").unwrap();
        let other = format!("acme/api@{}", Digest::of(b"other"));
        let error = believe(&other).unwrap_err();
        assert!(matches!(error, RecordError::Other { .. }), "{error}");
        for text in ["acme/api:4", "acme/web:3"] {
            let error = believe(text).unwrap_err();
            assert!(matches!(error, RecordError::Generation(_)), "{error}");
        }
        let strange = Signed::new(&generation, &key(2)).unwrap();
        let reference: Reference = "acme/api:3".parse().unwrap();
        let error = Generation::believe(&strange, &reference, &trusted()).unwrap_err();
        assert!(matches!(error, RecordError::Signed(_)), "{error}");
    }

    #[test]
    fn a_pointer_is_believed_only_of_its_environment_and_by_a_trusted_key() {
        let believe = |key: &SecretKey, name: &str| {
            let signed = Signed::new(&pointer(7, b"one"), key).unwrap();
            LivePointer::believe(&signed, &name.parse().unwrap(), &trusted())
        };
        assert_eq!(believe(&key(1), "acme/api").unwrap(), pointer(7, b"one"));
        let error = believe(&key(1), "acme/web").unwrap_err();
        assert!(matches!(error, PointerError::Foreign { .. }), "{error}");
        let error = believe(&key(2), "acme/api").unwrap_err();
        assert!(matches!(error, PointerError::Signed(_)), "{error}");
    }

    #[test]
    fn no_pointer_takes_back_what_a_later_one_said() {
        let seen = pointer(7, b"one").seen();
        pointer(7, b"one").check_after(seen).unwrap();
        pointer(8, b"two").check_after(seen).unwrap();
        let error = pointer(6, b"one").check_after(seen).unwrap_err();
        assert!(
            matches!(
                error,
                PointerError::Replayed {
                    found: 6,
                    seen: 7,
                    ..
                }
            ),
            "{error}"
        );
        let error = pointer(7, b"two").check_after(seen).unwrap_err();
        assert!(
            matches!(error, PointerError::Twofold { sequence: 7, .. }),
            "{error}"
        );
        // Older notes do not say where it pointed.
        let seen = Seen {
            digest: None,
            ..seen
        };
        pointer(7, b"two").check_after(seen).unwrap();
    }
}
