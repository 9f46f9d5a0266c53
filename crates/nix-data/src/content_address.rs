//! Content addresses: the claim that a store path's name follows from its content.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use crate::hash::shortened;
use crate::store_path::Ingestion;
use crate::text_serde::serde_as_text;
use crate::{Hash, HashAlgorithm, HashError, StorePath, StorePathError};

/// How the content was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentAddressMethod {
    /// `text`: the contents of one file that may refer to store paths.
    Text,
    /// `fixed`: the contents of one file.
    Flat,
    /// `fixed:r`: the NAR of anything.
    Recursive,
}

/// A content address as narinfo files have it (`fixed:r:sha256:<base32>`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentAddress {
    /// How the content was hashed.
    pub method: ContentAddressMethod,
    /// The hash of the content (with the path's own hash part zeroed where it refers to itself).
    pub hash: Hash,
}

/// Why a text is not a content address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentAddressError {
    /// It begins with neither `text:` nor `fixed:`.
    #[error("content address {text:?} begins with neither `text:` nor `fixed:`")]
    Prefix {
        /// The text, shortened.
        text: String,
    },
    /// Its hash cannot be read.
    #[error("content address {text:?} has an invalid hash")]
    Hash {
        /// The text, shortened.
        text: String,
        /// What is wrong.
        #[source]
        source: HashError,
    },
}

impl ContentAddress {
    /// Returns the store path that follows from this content, a name and the references.
    ///
    /// # Errors
    /// Fails for a name against the rules, and for references where this kind can have none.
    pub fn store_path(
        &self,
        name: &str,
        references: &BTreeSet<StorePath>,
        self_reference: bool,
    ) -> Result<StorePath, StorePathError> {
        let bare = references.is_empty() && !self_reference;
        match self.method {
            ContentAddressMethod::Text if !self_reference => {
                StorePath::text(name, &self.hash, references)
            }
            ContentAddressMethod::Recursive if self.hash.algorithm() == HashAlgorithm::Sha256 => {
                StorePath::source(name, &self.hash, references, self_reference)
            }
            ContentAddressMethod::Recursive if bare => {
                StorePath::fixed_output(name, Ingestion::Recursive, &self.hash)
            }
            ContentAddressMethod::Flat if bare => {
                StorePath::fixed_output(name, Ingestion::Flat, &self.hash)
            }
            _ => Err(StorePathError::References {
                name: shortened(name),
            }),
        }
    }

    /// Returns whether the path is the one that follows from this content and the references,
    /// among which the path itself may be.
    ///
    /// It says nothing about the bytes: their hash must still be compared.
    #[must_use]
    pub fn names<'path>(
        &self,
        path: &StorePath,
        references: impl IntoIterator<Item = &'path StorePath>,
    ) -> bool {
        let mut others: BTreeSet<StorePath> = references.into_iter().cloned().collect();
        let self_reference = others.remove(path);
        self.store_path(path.name(), &others, self_reference)
            .as_ref()
            == Ok(path)
    }
}

impl Display for ContentAddress {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let method = match self.method {
            ContentAddressMethod::Text => "text",
            ContentAddressMethod::Flat => "fixed",
            ContentAddressMethod::Recursive => "fixed:r",
        };
        write!(formatter, "{method}:{}", self.hash.to_nix32())
    }
}

impl FromStr for ContentAddress {
    type Err = ContentAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (method, hash) = if let Some(hash) = text.strip_prefix("text:") {
            (ContentAddressMethod::Text, hash)
        } else if let Some(hash) = text.strip_prefix("fixed:r:") {
            (ContentAddressMethod::Recursive, hash)
        } else if let Some(hash) = text.strip_prefix("fixed:") {
            (ContentAddressMethod::Flat, hash)
        } else {
            return Err(ContentAddressError::Prefix {
                text: shortened(text),
            });
        };
        let wrong = |source| ContentAddressError::Hash {
            text: shortened(text),
            source,
        };
        // Nix writes `algorithm:digest` here, never SRI.
        let Some((algorithm, digest)) = hash.split_once(':') else {
            return Err(wrong(HashError::NoAlgorithm {
                text: shortened(hash),
            }));
        };
        let algorithm = algorithm.parse().map_err(wrong)?;
        let hash = Hash::from_unprefixed(algorithm, digest).map_err(wrong)?;
        Ok(Self { method, hash })
    }
}

serde_as_text!(ContentAddress);

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ContentAddress {
        text.parse().unwrap()
    }

    fn with_digest(prefix: &str) -> String {
        format!("{prefix}:sha256:{}", Hash::sha256(b"").digest_nix32())
    }

    #[test]
    fn every_kind_is_read_and_written() {
        for prefix in ["text", "fixed", "fixed:r"] {
            let text = with_digest(prefix);
            assert_eq!(address(&text).to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "sha256:00",
            "recursive:sha256:00",
            "fixed",
            "text:r:sha256:00",
            "fixed:sha256",
        ] {
            assert!(text.parse::<ContentAddress>().is_err(), "{text}");
        }
        let sri = format!("fixed:r:{}", Hash::sha256(b"").to_sri());
        assert!(sri.parse::<ContentAddress>().is_err());
    }

    #[test]
    fn a_path_is_recognised_with_its_references() {
        let other = StorePath::text("other", &Hash::sha256(b"1"), &BTreeSet::new()).unwrap();
        let others = BTreeSet::from([other.clone()]);
        let recursive = address(&with_digest("fixed:r"));
        let path = recursive.store_path("tree", &others, true).unwrap();
        assert!(recursive.names(&path, [&other, &path]));
        assert!(!recursive.names(&path, [&other]));
        assert!(!recursive.names(&path, []));
        let text = address(&with_digest("text"));
        let path = text.store_path("text", &others, false).unwrap();
        assert!(text.names(&path, [&other]));
        assert!(!text.names(&path, [&other, &path]));
        let flat = address(&with_digest("fixed"));
        assert!(matches!(
            flat.store_path("flat", &others, false),
            Err(StorePathError::References { .. })
        ));
    }
}
