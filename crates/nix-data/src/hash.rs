//! Hashes as Nix writes them: by algorithm, in base 16, Nix's base 32, base 64 or SRI.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use crate::base32::{self, Base32Error};
use crate::text_serde::serde_as_text;

/// The algorithms that Nix knows (without the experimental BLAKE3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// Broken; only met in old fixed-output derivations.
    Md5,
    /// Broken; only met in old fixed-output derivations.
    Sha1,
    /// What NARs and store paths are hashed with.
    Sha256,
    /// Met in fixed-output derivations.
    Sha512,
}

/// A digest together with its algorithm.
///
/// `Display` and serde write the SRI form (`sha256-<base64>`); parsing takes that and
/// `sha256:<base16, base32 or base64>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash {
    algorithm: HashAlgorithm,
    /// Zero past the algorithm's length, so that the derived comparisons hold.
    bytes: [u8; LONGEST],
}

/// The length of a SHA-512 digest.
const LONGEST: usize = 64;

/// Why a text is not a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Nix knows no such algorithm.
    #[error("hash algorithm {name:?} is not known (md5, sha1, sha256, sha512 are)")]
    Algorithm {
        /// The name.
        name: String,
    },
    /// The text names no algorithm.
    #[error("hash {text:?} has no algorithm in front (such as `sha256:` or `sha256-`)")]
    NoAlgorithm {
        /// The text, shortened.
        text: String,
    },
    /// The digest has a length that none of the encodings gives.
    #[error(
        "hash {text:?} has a digest of {length} characters, which is no {algorithm} in base 16, 32 or 64"
    )]
    Length {
        /// The text, shortened.
        text: String,
        /// The number of characters of the digest.
        length: usize,
        /// The algorithm.
        algorithm: HashAlgorithm,
    },
    /// The bytes are not as many as the algorithm gives.
    #[error("{algorithm} digests have {expected} bytes, not {found}")]
    Bytes {
        /// The algorithm.
        algorithm: HashAlgorithm,
        /// Its length.
        expected: usize,
        /// The length there is.
        found: usize,
    },
    /// The digest is not base 16.
    #[error("hash {text:?} is not valid base 16")]
    Base16 {
        /// The text, shortened.
        text: String,
    },
    /// The digest is not Nix's base 32.
    #[error("hash {text:?} is not valid base 32")]
    Base32 {
        /// The text, shortened.
        text: String,
        /// What is wrong.
        #[source]
        source: Base32Error,
    },
    /// The digest is not base 64.
    #[error("hash {text:?} is not valid base 64")]
    Base64 {
        /// The text, shortened.
        text: String,
        /// What is wrong.
        #[source]
        source: base64::DecodeError,
    },
}

impl HashAlgorithm {
    /// Returns the length of the digests in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Returns the name that Nix writes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl Display for HashAlgorithm {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for HashAlgorithm {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name() == text)
            .ok_or_else(|| HashError::Algorithm {
                name: shortened(text),
            })
    }
}

impl Hash {
    /// Returns the SHA-256 of bytes.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::from_sha256(Sha256::digest(bytes).into())
    }

    /// Takes a SHA-256 that was computed elsewhere.
    #[must_use]
    pub fn from_sha256(digest: [u8; 32]) -> Self {
        let mut bytes = [0; LONGEST];
        bytes[..32].copy_from_slice(&digest);
        Self {
            algorithm: HashAlgorithm::Sha256,
            bytes,
        }
    }

    /// Takes a digest of any algorithm.
    ///
    /// # Errors
    /// Fails when it does not have the algorithm's length.
    pub fn from_digest(algorithm: HashAlgorithm, digest: &[u8]) -> Result<Self, HashError> {
        if digest.len() != algorithm.length() {
            return Err(HashError::Bytes {
                algorithm,
                expected: algorithm.length(),
                found: digest.len(),
            });
        }
        let mut bytes = [0; LONGEST];
        bytes[..digest.len()].copy_from_slice(digest);
        Ok(Self { algorithm, bytes })
    }

    /// Reads a digest without its algorithm, in whichever of base 16, 32 and 64 its length says.
    ///
    /// # Errors
    /// Fails when the length fits none, or the digits are wrong.
    pub fn from_unprefixed(algorithm: HashAlgorithm, digest: &str) -> Result<Self, HashError> {
        let bytes = algorithm.length();
        let text = || shortened(digest);
        let decoded = if digest.len() == bytes * 2 {
            decode_base16(digest).ok_or_else(|| HashError::Base16 { text: text() })?
        } else if digest.len() == base32::encoded_length(bytes) {
            base32::decode(digest).map_err(|source| HashError::Base32 {
                text: text(),
                source,
            })?
        } else if digest.len() == bytes.div_ceil(3) * 4 {
            decode_base64(digest)?
        } else {
            return Err(HashError::Length {
                text: text(),
                length: digest.len(),
                algorithm,
            });
        };
        Self::from_digest(algorithm, &decoded)
    }

    /// Returns the algorithm.
    #[must_use]
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Returns the digest's bytes.
    #[must_use]
    pub fn digest(&self) -> &[u8] {
        &self.bytes[..self.algorithm.length()]
    }

    /// Returns the digest's bytes if the algorithm is SHA-256.
    #[must_use]
    pub fn as_sha256(&self) -> Option<&[u8; 32]> {
        (self.algorithm == HashAlgorithm::Sha256)
            .then(|| self.bytes.first_chunk())
            .flatten()
    }

    /// Returns the SRI form, `sha256-<base64>`.
    #[must_use]
    pub fn to_sri(&self) -> String {
        self.to_string()
    }

    /// Returns `sha256:<base32>`, as narinfo files and fingerprints have it.
    #[must_use]
    pub fn to_nix32(&self) -> String {
        format!("{}:{}", self.algorithm, self.digest_nix32())
    }

    /// Returns the digest in Nix's base 32 without the algorithm, as file names have it.
    #[must_use]
    pub fn digest_nix32(&self) -> String {
        base32::encode(self.digest())
    }

    /// Returns the digest in base 16 without the algorithm.
    #[must_use]
    pub fn to_hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.digest()
            .iter()
            .flat_map(|byte| {
                [
                    DIGITS[usize::from(byte >> 4)],
                    DIGITS[usize::from(byte & 15)],
                ]
            })
            .map(char::from)
            .collect()
    }
}

impl Display for Hash {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}-{}",
            self.algorithm,
            BASE64.encode(self.digest())
        )
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((algorithm, digest)) = text.split_once(':') {
            return Self::from_unprefixed(algorithm.parse()?, digest);
        }
        let Some((algorithm, digest)) = text.split_once('-') else {
            return Err(HashError::NoAlgorithm {
                text: shortened(text),
            });
        };
        Self::from_digest(algorithm.parse()?, &decode_base64(digest)?)
    }
}

serde_as_text!(Hash);

/// Returns the start of a text that may be hostile, for an error message.
pub(crate) fn shortened(text: &str) -> String {
    const MOST: usize = 160;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn decode_base64(digest: &str) -> Result<Vec<u8>, HashError> {
    // Longer than any digest: refused before it is decoded.
    if digest.len() > LONGEST * 2 {
        return Err(HashError::Bytes {
            algorithm: HashAlgorithm::Sha512,
            expected: LONGEST,
            found: digest.len() / 4 * 3,
        });
    }
    BASE64.decode(digest).map_err(|source| HashError::Base64 {
        text: shortened(digest),
        source,
    })
}

fn decode_base16(digest: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = digest
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
        })
        .collect();
    Some(
        digits?
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

#[cfg(test)]
mod tests;
