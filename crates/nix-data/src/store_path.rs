//! Store paths: their names, and how Nix derives them from content.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::sync::Arc;

use crate::hash::shortened;
use crate::text_serde::serde_as_text;
use crate::{Hash, HashAlgorithm, base32};

/// The only store directory that Nival knows: paths of other stores have other hashes.
pub const STORE_DIR: &str = "/nix/store";

/// The length of the hash part: 160 bits in base 32.
const HASH_LENGTH: usize = 32;

/// The longest name, so that `<hash>-<name>.lock` and the like stay under 255 bytes.
const LONGEST_NAME: usize = 211;

/// A path directly in the store, `/nix/store/<hash>-<name>`. Cheap to clone.
///
/// `Display`, `FromStr` and serde use the absolute path; the order is that of the base names,
/// which is the order of references everywhere in Nix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath {
    base_name: Arc<str>,
}

/// How files become bytes before they are hashed for a fixed output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ingestion {
    /// One regular file: its contents.
    Flat,
    /// Anything: its NAR.
    Recursive,
}

/// Why something is not a store path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorePathError {
    /// It lies elsewhere.
    #[error("path {path:?} is not in the store {STORE_DIR}")]
    Outside {
        /// The path, shortened.
        path: String,
    },
    /// It has no hash part.
    #[error("store path {base_name:?} does not begin with 32 base 32 digits and a dash")]
    HashPart {
        /// The base name, shortened.
        base_name: String,
    },
    /// The name is empty or too long.
    #[error("store path name {name:?} has {length} bytes; 1 to 211 are allowed")]
    NameLength {
        /// The name, shortened.
        name: String,
        /// Its length.
        length: usize,
    },
    /// The name has a character that Nix does not allow.
    #[error(
        "store path name {name:?} contains {character:?}; letters, digits and +-._?= are allowed"
    )]
    NameCharacter {
        /// The name, shortened.
        name: String,
        /// The first such character.
        character: char,
    },
    /// The name is `.` or `..`, or begins with one of these and a dash.
    #[error("store path name {name:?} is or begins with a `.` or `..` component")]
    NameDots {
        /// The name, shortened.
        name: String,
    },
    /// Store paths are derived from SHA-256 only in this place.
    #[error("store path of {name:?} cannot be derived from a {algorithm} hash; it takes a sha256")]
    Algorithm {
        /// The name.
        name: String,
        /// The algorithm there is.
        algorithm: HashAlgorithm,
    },
    /// Only texts and recursive SHA-256 outputs may have references.
    #[error("fixed output {name:?} cannot have references: it is not a recursive sha256 one")]
    References {
        /// The name.
        name: String,
    },
}

impl StorePath {
    /// Reads `<hash>-<name>`.
    ///
    /// # Errors
    /// Fails when hash part or name break Nix's rules.
    pub fn from_base_name(base_name: &str) -> Result<Self, StorePathError> {
        let (hash, rest) = base_name
            .as_bytes()
            .split_at_checked(HASH_LENGTH)
            .unwrap_or_default();
        if rest.first() != Some(&b'-') || !hash.iter().all(|byte| base32::is_digit(*byte)) {
            return Err(StorePathError::HashPart {
                base_name: shortened(base_name),
            });
        }
        check_name(&base_name[HASH_LENGTH + 1..])?;
        Ok(Self {
            base_name: base_name.into(),
        })
    }

    /// Splits an absolute path inside the store into its store path and the rest.
    ///
    /// The rest is empty or begins with `/`; it is not checked.
    ///
    /// # Errors
    /// Fails when the path is not in the store or its first component there is not a store path.
    pub fn split(path: &str) -> Result<(Self, &str), StorePathError> {
        let inside = in_store(path)?;
        let (base_name, rest) = inside.split_at(inside.find('/').unwrap_or(inside.len()));
        Ok((Self::from_base_name(base_name)?, rest))
    }

    /// Returns `<hash>-<name>`.
    #[must_use]
    pub fn base_name(&self) -> &str {
        &self.base_name
    }

    /// Returns the 32 digits in front, which name the narinfo.
    #[must_use]
    pub fn hash_part(&self) -> &str {
        &self.base_name[..HASH_LENGTH]
    }

    /// Returns the name after the hash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.base_name[HASH_LENGTH + 1..]
    }

    /// Returns whether it names a derivation.
    #[must_use]
    pub fn is_derivation(&self) -> bool {
        self.name().ends_with(".drv")
    }

    /// Derives the path of a tree from the SHA-256 of its NAR, as `nix store add` does.
    ///
    /// With `self_reference`, the hash is the one taken with the path's own hash part zeroed
    /// ([`crate::references::SelfReferenceHasher`]), and `references` does not contain the path.
    ///
    /// # Errors
    /// Fails for a name against the rules and for another algorithm than SHA-256.
    pub fn source(
        name: &str,
        nar_sha256: &Hash,
        references: &BTreeSet<Self>,
        self_reference: bool,
    ) -> Result<Self, StorePathError> {
        let mut kind = with_references("source", references);
        if self_reference {
            kind.push_str(":self");
        }
        Self::make(&kind, need_sha256(name, nar_sha256)?, name)
    }

    /// Derives the path of a fixed output from the hash of its file or NAR.
    ///
    /// # Errors
    /// Fails for a name against the rules.
    pub fn fixed_output(
        name: &str,
        ingestion: Ingestion,
        hash: &Hash,
    ) -> Result<Self, StorePathError> {
        let prefix = match ingestion {
            Ingestion::Recursive if hash.algorithm() == HashAlgorithm::Sha256 => {
                return Self::source(name, hash, &BTreeSet::new(), false);
            }
            Ingestion::Recursive => "r:",
            Ingestion::Flat => "",
        };
        let description = format!("fixed:out:{prefix}{}:{}:", hash.algorithm(), hash.to_hex());
        Self::make("output:out", &Hash::sha256(description.as_bytes()), name)
    }

    /// Derives the path of a text (a derivation, a file of `builtins.toFile`) from its contents.
    ///
    /// # Errors
    /// Fails for a name against the rules and for another algorithm than SHA-256.
    pub fn text(
        name: &str,
        contents_sha256: &Hash,
        references: &BTreeSet<Self>,
    ) -> Result<Self, StorePathError> {
        let kind = with_references("text", references);
        Self::make(&kind, need_sha256(name, contents_sha256)?, name)
    }

    /// Derives an output's path of an input-addressed derivation from the derivation's hash
    /// ("modulo fixed outputs").
    ///
    /// # Errors
    /// Fails for a name against the rules and for another algorithm than SHA-256.
    pub fn output(
        derivation_sha256: &Hash,
        derivation_name: &str,
        output: &str,
    ) -> Result<Self, StorePathError> {
        let name = match output {
            "out" => derivation_name.to_owned(),
            other => format!("{derivation_name}-{other}"),
        };
        let hash = need_sha256(&name, derivation_sha256)?;
        Self::make(&format!("output:{output}"), hash, &name)
    }

    /// Hashes the description of a path to its 160 bits, as all kinds of paths are made.
    fn make(kind: &str, inner: &Hash, name: &str) -> Result<Self, StorePathError> {
        check_name(name)?;
        let hex = inner.to_hex();
        let description = format!("{kind}:{}:{hex}:{STORE_DIR}:{name}", inner.algorithm());
        let mut folded = [0; 20];
        for (index, byte) in Hash::sha256(description.as_bytes())
            .digest()
            .iter()
            .enumerate()
        {
            folded[index % 20] ^= byte;
        }
        Ok(Self {
            base_name: format!("{}-{name}", base32::encode(&folded)).into(),
        })
    }
}

impl Display for StorePath {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{STORE_DIR}/{}", self.base_name)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "StorePath({})", self.base_name)
    }
}

impl FromStr for StorePath {
    type Err = StorePathError;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        Self::from_base_name(in_store(path)?)
    }
}

serde_as_text!(StorePath);

fn in_store(path: &str) -> Result<&str, StorePathError> {
    path.strip_prefix(STORE_DIR)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or_else(|| StorePathError::Outside {
            path: shortened(path),
        })
}

/// Checks a name as current Nix does.
fn check_name(name: &str) -> Result<(), StorePathError> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(StorePathError::NameLength {
            name: shortened(name),
            length: name.len(),
        });
    }
    let first = name.split('-').next();
    if first == Some(".") || first == Some("..") {
        return Err(StorePathError::NameDots {
            name: shortened(name),
        });
    }
    let wrong = |one: &char| !(one.is_ascii_alphanumeric() || "+-._?=".contains(*one));
    match name.chars().find(wrong) {
        Some(character) => Err(StorePathError::NameCharacter {
            name: shortened(name),
            character,
        }),
        None => Ok(()),
    }
}

fn need_sha256<'hash>(name: &str, hash: &'hash Hash) -> Result<&'hash Hash, StorePathError> {
    match hash.algorithm() {
        HashAlgorithm::Sha256 => Ok(hash),
        algorithm => Err(StorePathError::Algorithm {
            name: shortened(name),
            algorithm,
        }),
    }
}

fn with_references(kind: &str, references: &BTreeSet<StorePath>) -> String {
    let mut text = kind.to_owned();
    for reference in references {
        text.push(':');
        text.push_str(&reference.to_string());
    }
    text
}

#[cfg(test)]
mod tests;
