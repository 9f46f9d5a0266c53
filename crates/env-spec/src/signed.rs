//! Records with signatures: the bytes that were signed travel as they are, beside who signed them.

use std::collections::BTreeMap;

use nix_data::{PublicKey, SecretKey, Signature};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// Larger records are refused unread: 5,000 paths with long names and references stay far below.
pub const LARGEST_RECORD: usize = 32 << 20;

/// A kind of record that is signed.
pub trait Record: Serialize + DeserializeOwned {
    /// The first line of what a signature covers, so that no signature counts for another kind.
    const KIND: &'static str;
}

/// A record in its canonical form (RFC 8785) with the signatures over it (Nix key format).
///
/// What arrives here is hostile: only [`Signed::verify`] gives the record out as trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The canonical JSON text.
    pub record: String,
    /// Signatures, each `key-name:base64`.
    pub signatures: Vec<String>,
}

/// The keys that a machine trusts, by the owner that they may sign for.
#[derive(Debug, Clone, Default)]
pub struct TrustedKeys(BTreeMap<String, Vec<PublicKey>>);

/// Why a signed record is not believed.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    /// The record is larger than any honest one.
    #[error("record has {length} bytes; the largest allowed is {LARGEST_RECORD}")]
    TooLarge {
        /// Its length.
        length: usize,
    },
    /// The text is no record of this kind.
    #[error("record is not a valid {kind}")]
    Malformed {
        /// The kind that was expected.
        kind: &'static str,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// Another spelling of the same record would have another digest.
    #[error("record {digest} is not in canonical form (RFC 8785)")]
    NotCanonical {
        /// The digest of the bytes as they came.
        digest: Digest,
    },
    /// Nobody signed.
    #[error("{subject} is not signed; sign it with a key that is trusted for owner {owner}")]
    Unsigned {
        /// The record.
        subject: String,
        /// Who owns the environment.
        owner: String,
    },
    /// Signed, but by nobody who is trusted.
    #[error(
        "{subject} is not signed by a key trusted for owner {owner} (signed by: {signers}; trusted: {trusted})"
    )]
    Untrusted {
        /// The record.
        subject: String,
        /// Who owns the environment.
        owner: String,
        /// Names of the keys that signed.
        signers: String,
        /// Names of the keys that are trusted.
        trusted: String,
    },
    /// The signature names a trusted key, but is not over this record.
    #[error(
        "the signature of key {key} on {subject} is wrong: the record was altered or the key is another one of the same name"
    )]
    Wrong {
        /// The record.
        subject: String,
        /// The key's name.
        key: String,
    },
}

impl TrustedKeys {
    /// Returns the set with one more key for an owner.
    pub fn add(&mut self, owner: &str, key: PublicKey) {
        self.0.entry(owner.to_owned()).or_default().push(key);
    }

    /// Returns the keys that may sign for an owner.
    #[must_use]
    pub fn for_owner(&self, owner: &str) -> &[PublicKey] {
        self.0.get(owner).map_or(&[], Vec::as_slice)
    }

    /// Returns all keys with the owner they may sign for.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &PublicKey)> {
        self.0
            .iter()
            .flat_map(|(owner, keys)| keys.iter().map(move |key| (owner.as_str(), key)))
    }
}

impl Signed {
    /// Signs a record.
    ///
    /// # Errors
    /// Fails only for a record that JSON cannot carry.
    pub fn new<R: Record>(record: &R, key: &SecretKey) -> Result<Self, SignedError> {
        let record = canonical(record)?;
        let signature = key.sign(&covered::<R>(Digest::of(record.as_bytes())));
        Ok(Self {
            record,
            signatures: vec![signature.to_string()],
        })
    }

    /// Returns the digest of the record.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.record.as_bytes())
    }

    /// Reads the record without believing it: for what only shows or stores it.
    ///
    /// # Errors
    /// Fails when it is too large, malformed or not canonical.
    pub fn read_unverified<R: Record>(&self) -> Result<R, SignedError> {
        if self.record.len() > LARGEST_RECORD {
            return Err(SignedError::TooLarge {
                length: self.record.len(),
            });
        }
        let record: R =
            serde_json::from_str(&self.record).map_err(|source| SignedError::Malformed {
                kind: R::KIND,
                source,
            })?;
        if canonical(&record)? != self.record {
            return Err(SignedError::NotCanonical {
                digest: self.digest(),
            });
        }
        Ok(record)
    }

    /// Returns the record if a key that is trusted for the owner signed exactly these bytes.
    ///
    /// `subject` names the record in errors.
    ///
    /// # Errors
    /// Fails when it is malformed, unsigned, signed by strangers only, or wrongly signed.
    pub fn verify<R: Record>(
        &self,
        subject: &str,
        owner: &str,
        trusted: &TrustedKeys,
    ) -> Result<R, SignedError> {
        let record = self.read_unverified()?;
        let message = covered::<R>(self.digest());
        let keys = trusted.for_owner(owner);
        let signatures: Vec<Signature> = self
            .signatures
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        if signatures.is_empty() {
            return Err(SignedError::Unsigned {
                subject: subject.to_owned(),
                owner: owner.to_owned(),
            });
        }
        if signatures
            .iter()
            .any(|signature| keys.iter().any(|key| key.verify(&message, signature)))
        {
            return Ok(record);
        }
        let wrong = signatures
            .iter()
            .find(|one| keys.iter().any(|key| key.name() == one.name()));
        if let Some(signature) = wrong {
            return Err(SignedError::Wrong {
                subject: subject.to_owned(),
                key: signature.name().to_owned(),
            });
        }
        let names = |names: Vec<&str>| {
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        };
        Err(SignedError::Untrusted {
            subject: subject.to_owned(),
            owner: owner.to_owned(),
            signers: names(signatures.iter().map(Signature::name).collect()),
            trusted: names(keys.iter().map(PublicKey::name).collect()),
        })
    }
}

fn canonical<R: Record>(record: &R) -> Result<String, SignedError> {
    serde_json_canonicalizer::to_string(record).map_err(|source| SignedError::Malformed {
        kind: R::KIND,
        source,
    })
}

fn covered<R: Record>(digest: Digest) -> Vec<u8> {
    format!("{}\n{digest}\n", R::KIND).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::{LivePointer, RevocationList};

    fn pointer() -> LivePointer {
        LivePointer {
            environment: "acme/api".parse().unwrap(),
            number: 3,
            digest: Digest::of(b"generation"),
            sequence: 7,
            time: "2026-11-24T10:00:00Z".to_owned(),
        }
    }

    fn key(name: &str, seed: u8) -> SecretKey {
        SecretKey::generate_from_seed(name, [seed; 32]).unwrap()
    }

    fn trusting(owner: &str, key: &SecretKey) -> TrustedKeys {
        let mut trusted = TrustedKeys::default();
        trusted.add(owner, key.public_key());
        trusted
    }

    #[test]
    fn a_record_signed_by_a_trusted_key_is_believed() {
        let key = key("acme-1", 1);
        let signed = Signed::new(&pointer(), &key).unwrap();
        let read: LivePointer = signed
            .verify("the pointer", "acme", &trusting("acme", &key))
            .unwrap();
        assert_eq!(read, pointer());
    }

    #[test]
    fn an_altered_record_is_refused() {
        let key = key("acme-1", 1);
        let mut signed = Signed::new(&pointer(), &key).unwrap();
        signed.record = signed.record.replace("\"sequence\":7", "\"sequence\":8");
        let error = signed.verify::<LivePointer>("the pointer", "acme", &trusting("acme", &key));
        assert!(matches!(error, Err(SignedError::Wrong { .. })), "{error:?}");
    }

    #[test]
    fn a_key_of_another_owner_and_an_unknown_key_are_refused() {
        let (own, strange) = (key("acme-1", 1), key("evil-1", 2));
        let signed = Signed::new(&pointer(), &strange).unwrap();
        for trusted in [trusting("acme", &own), trusting("evil", &strange)] {
            let error = signed.verify::<LivePointer>("the pointer", "acme", &trusted);
            assert!(
                matches!(error, Err(SignedError::Untrusted { .. })),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_record_with_no_signature_is_refused() {
        let key = key("acme-1", 1);
        let mut signed = Signed::new(&pointer(), &key).unwrap();
        signed.signatures = vec!["no signature at all".to_owned()];
        let error = signed.verify::<LivePointer>("the pointer", "acme", &trusting("acme", &key));
        assert!(
            matches!(error, Err(SignedError::Unsigned { .. })),
            "{error:?}"
        );
    }

    #[test]
    fn another_spelling_of_a_record_is_refused() {
        let mut signed = Signed::new(&pointer(), &key("acme-1", 1)).unwrap();
        signed.record = signed.record.replace(":7", ": 7");
        let error = signed.read_unverified::<LivePointer>();
        assert!(
            matches!(error, Err(SignedError::NotCanonical { .. })),
            "{error:?}"
        );
    }

    #[test]
    fn a_signature_on_one_kind_counts_for_no_other() {
        let key = key("acme-1", 1);
        let list = RevocationList {
            owner: "acme".to_owned(),
            revoked: BTreeMap::new(),
            sequence: 1,
            time: "2026-11-24T10:00:00Z".to_owned(),
        };
        let record = canonical(&pointer()).unwrap();
        let borrowed = key.sign(&covered::<RevocationList>(Digest::of(record.as_bytes())));
        let signed = Signed {
            record,
            signatures: vec![borrowed.to_string()],
        };
        assert!(
            signed
                .verify::<LivePointer>("the pointer", "acme", &trusting("acme", &key))
                .is_err()
        );
        assert!(Signed::new(&list, &key).is_ok());
    }
}
