//! narinfo: what a binary cache says of a store path, and who vouches for it.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter, Write as _};
use std::str::FromStr;

use crate::hash::shortened;
use crate::narinfo_url::{self, UrlError};
use crate::{
    ContentAddress, ContentAddressError, Hash, HashAlgorithm, HashError, KeyError, PublicKey,
    SecretKey, Signature, StorePath, StorePathError,
};

/// The largest narinfo that is read: more than [`MOST_REFERENCES`] of usual length.
const LARGEST: usize = 2 << 20;

/// The most references of one path; a closure has at most 5,000 paths.
const MOST_REFERENCES: usize = 10_000;

/// The most signatures of one path.
const MOST_SIGNATURES: usize = 100;

/// The longest line but that of the references.
const LONGEST_LINE: usize = 8 << 10;

/// How a NAR is compressed in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZMA2, Nix's default.
    Xz,
    /// Zstandard: ten times as fast to read.
    Zstd,
    /// What a narinfo without `Compression` means.
    Bzip2,
}

/// A store path as a binary cache offers it.
///
/// `Display` writes exactly what Nix writes. References and signatures are sorted and single
/// when they come from [`NarInfo::parse`]; they are written and signed so in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarInfo {
    /// The store path.
    pub store_path: StorePath,
    /// Where the NAR is, relative to the cache.
    pub url: String,
    /// How the NAR is compressed.
    pub compression: Compression,
    /// The SHA-256 of the file as it is in the cache.
    pub file_hash: Option<Hash>,
    /// The length of the file as it is in the cache.
    pub file_size: Option<u64>,
    /// The SHA-256 of the NAR.
    pub nar_hash: Hash,
    /// The length of the NAR.
    pub nar_size: u64,
    /// The store paths that the NAR refers to; itself included where it does.
    pub references: Vec<StorePath>,
    /// The derivation that it was built from.
    pub deriver: Option<StorePath>,
    /// The system that it was built for; only old caches say so.
    pub system: Option<String>,
    /// Who vouches for path, NAR hash, NAR size and references.
    pub signatures: Vec<Signature>,
    /// The claim that the path follows from its content.
    pub ca: Option<ContentAddress>,
}

/// Why a text is not a narinfo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NarInfoError {
    /// It is larger than any honest one.
    #[error("narinfo has {length} bytes; the most allowed is {LARGEST}")]
    TooLarge {
        /// Its length.
        length: usize,
    },
    /// The last line has no end: the file was cut off.
    #[error("narinfo is cut off: its last line {line} has no end")]
    CutOff {
        /// The line's number.
        line: usize,
    },
    /// A line is not `Key: value`.
    #[error("narinfo line {line} is not of the form `Key: value`: {text:?}")]
    Line {
        /// The line's number.
        line: usize,
        /// The line, shortened.
        text: String,
    },
    /// A line is longer than any honest one.
    #[error("narinfo line {line} has {length} bytes; the most allowed is {LONGEST_LINE}")]
    LongLine {
        /// The line's number.
        line: usize,
        /// Its length.
        length: usize,
    },
    /// The same key stands there twice.
    #[error("narinfo has {key:?} twice")]
    Twice {
        /// The key.
        key: &'static str,
    },
    /// A key is missing.
    #[error("narinfo has no {key:?}")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// More signatures or references than any honest one has.
    #[error("narinfo has more than {most} of {key}")]
    TooMany {
        /// The key.
        key: &'static str,
        /// The most allowed.
        most: usize,
    },
    /// A size is not a number, or zero.
    #[error("narinfo has an invalid {key}: {value:?}")]
    Number {
        /// The key.
        key: &'static str,
        /// The value, shortened.
        value: String,
    },
    /// The compression is not one of those that Nival reads.
    #[error("narinfo has compression {name:?}; none, xz, zstd and bzip2 are supported")]
    Compression {
        /// The compression, shortened.
        name: String,
    },
    /// The system has characters that no system's name has.
    #[error("narinfo has an invalid System: {name:?}")]
    System {
        /// The system, shortened.
        name: String,
    },
    /// A hash is of another algorithm.
    #[error("narinfo has a {algorithm} {key}; it must be sha256")]
    Algorithm {
        /// The key.
        key: &'static str,
        /// The algorithm.
        algorithm: HashAlgorithm,
    },
    /// The URL leads out of the cache.
    #[error("narinfo has an invalid URL")]
    Url(#[source] UrlError),
    /// A hash cannot be read.
    #[error("narinfo has an invalid {key}")]
    Hash {
        /// The key.
        key: &'static str,
        /// What is wrong.
        #[source]
        source: HashError,
    },
    /// A store path cannot be read.
    #[error("narinfo has an invalid store path in {key}")]
    StorePath {
        /// The key.
        key: &'static str,
        /// What is wrong.
        #[source]
        source: StorePathError,
    },
    /// A signature cannot be read.
    #[error("narinfo has an invalid signature")]
    Signature(#[source] KeyError),
    /// The content address cannot be read.
    #[error("narinfo has an invalid content address")]
    ContentAddress(#[source] ContentAddressError),
}

impl Compression {
    /// Returns the name as narinfo files have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        }
    }

    /// Returns the ending of the file's name, with its dot: `.nar`, `.nar.zst`, ….
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::None => ".nar",
            Self::Xz => ".nar.xz",
            Self::Zstd => ".nar.zst",
            Self::Bzip2 => ".nar.bz2",
        }
    }
}

impl Display for Compression {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = NarInfoError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Nix reads an empty one as it reads a missing one.
        let name = if text.is_empty() { "bzip2" } else { text };
        [Self::None, Self::Xz, Self::Zstd, Self::Bzip2]
            .into_iter()
            .find(|one| one.name() == name)
            .ok_or_else(|| NarInfoError::Compression {
                name: shortened(name),
            })
    }
}

impl NarInfo {
    /// Reads a narinfo. Unknown keys are skipped, as Nix skips them.
    ///
    /// # Errors
    /// Fails when it is too large, cut off, malformed, or its URL leads out of the cache.
    pub fn parse(text: &str) -> Result<Self, NarInfoError> {
        if text.len() > LARGEST {
            return Err(NarInfoError::TooLarge { length: text.len() });
        }
        let mut fields = Fields::default();
        for (index, line) in text.split_inclusive('\n').enumerate() {
            fields.read_line(index + 1, line)?;
        }
        fields.finish()
    }

    /// Returns what signatures cover: path, NAR hash, NAR size and references.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut text = format!(
            "1;{};{};{};",
            self.store_path,
            self.nar_hash.to_nix32(),
            self.nar_size
        );
        for (index, reference) in sorted(&self.references).into_iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(text, "{comma}{reference}").expect("writing to a String cannot fail");
        }
        text
    }

    /// Adds the key's signature.
    pub fn sign(&mut self, key: &SecretKey) {
        self.signatures
            .push(key.sign(self.fingerprint().as_bytes()));
        self.signatures.sort();
        self.signatures.dedup();
    }

    /// Returns the first of the keys that has signed this, if any has.
    #[must_use]
    pub fn verify<'key>(&self, keys: &'key [PublicKey]) -> Option<&'key PublicKey> {
        let fingerprint = self.fingerprint();
        keys.iter().find(|key| {
            self.signatures
                .iter()
                .any(|signature| key.verify(fingerprint.as_bytes(), signature))
        })
    }

    /// Returns whether the path follows from the content address and the references, so that
    /// the right bytes need no signature.
    #[must_use]
    pub fn is_content_addressed(&self) -> bool {
        self.ca
            .as_ref()
            .is_some_and(|ca| ca.names(&self.store_path, &self.references))
    }
}

impl Display for NarInfo {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "StorePath: {}", self.store_path)?;
        writeln!(formatter, "URL: {}", self.url)?;
        writeln!(formatter, "Compression: {}", self.compression)?;
        if let Some(hash) = &self.file_hash {
            writeln!(formatter, "FileHash: {}", hash.to_nix32())?;
        }
        if let Some(size) = self.file_size {
            writeln!(formatter, "FileSize: {size}")?;
        }
        writeln!(formatter, "NarHash: {}", self.nar_hash.to_nix32())?;
        writeln!(formatter, "NarSize: {}", self.nar_size)?;
        formatter.write_str("References: ")?;
        for (index, reference) in sorted(&self.references).into_iter().enumerate() {
            let blank = if index == 0 { "" } else { " " };
            write!(formatter, "{blank}{}", reference.base_name())?;
        }
        formatter.write_char('\n')?;
        if let Some(deriver) = &self.deriver {
            writeln!(formatter, "Deriver: {}", deriver.base_name())?;
        }
        if let Some(system) = &self.system {
            writeln!(formatter, "System: {system}")?;
        }
        for signature in sorted(&self.signatures) {
            writeln!(formatter, "Sig: {signature}")?;
        }
        if let Some(ca) = &self.ca {
            writeln!(formatter, "CA: {ca}")?;
        }
        Ok(())
    }
}

impl FromStr for NarInfo {
    type Err = NarInfoError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Sorts and takes each once, as Nix's sets do.
fn sorted<T: Ord>(items: &[T]) -> BTreeSet<&T> {
    items.iter().collect()
}

/// What was read so far.
#[derive(Default)]
struct Fields {
    store_path: Option<StorePath>,
    url: Option<String>,
    compression: Option<Compression>,
    file_hash: Option<Hash>,
    file_size: Option<u64>,
    nar_hash: Option<Hash>,
    nar_size: Option<u64>,
    references: Option<Vec<StorePath>>,
    /// The inner `None` is Nix's `unknown-deriver`.
    deriver: Option<Option<StorePath>>,
    system: Option<String>,
    signatures: Vec<Signature>,
    ca: Option<Option<ContentAddress>>,
}

impl Fields {
    fn read_line(&mut self, number: usize, line: &str) -> Result<(), NarInfoError> {
        let Some(line) = line.strip_suffix('\n') else {
            return Err(NarInfoError::CutOff { line: number });
        };
        let malformed = || NarInfoError::Line {
            line: number,
            text: shortened(line),
        };
        let (key, value) = line.split_once(':').ok_or_else(malformed)?;
        // Editors and mirrors that strip trailing blanks leave `References:`.
        let value = match value.strip_prefix(' ') {
            Some(value) => value,
            None if value.is_empty() => value,
            None => return Err(malformed()),
        };
        if line.len() > LONGEST_LINE && key != "References" {
            return Err(NarInfoError::LongLine {
                line: number,
                length: line.len(),
            });
        }
        self.read_field(key, value)
    }

    fn read_field(&mut self, key: &str, value: &str) -> Result<(), NarInfoError> {
        match key {
            "StorePath" => {
                let key = "StorePath";
                let path = value
                    .parse()
                    .map_err(|source| NarInfoError::StorePath { key, source });
                once(key, &mut self.store_path, path?)
            }
            "URL" => {
                narinfo_url::check(value).map_err(NarInfoError::Url)?;
                once("URL", &mut self.url, value.to_owned())
            }
            "Compression" => once("Compression", &mut self.compression, value.parse()?),
            "FileHash" => once("FileHash", &mut self.file_hash, sha256("FileHash", value)?),
            "FileSize" => once("FileSize", &mut self.file_size, number("FileSize", value)?),
            "NarHash" => once("NarHash", &mut self.nar_hash, sha256("NarHash", value)?),
            "NarSize" => {
                let size = number("NarSize", value)?;
                if size == 0 {
                    return Err(NarInfoError::Number {
                        key: "NarSize",
                        value: shortened(value),
                    });
                }
                once("NarSize", &mut self.nar_size, size)
            }
            "References" => once("References", &mut self.references, references(value)?),
            "Deriver" => {
                let deriver = match value {
                    "unknown-deriver" => None,
                    path => Some(base_name("Deriver", path)?),
                };
                once("Deriver", &mut self.deriver, deriver)
            }
            "System" => {
                let wrong = |one: char| !(one.is_ascii_alphanumeric() || "-_.".contains(one));
                if value.contains(wrong) {
                    return Err(NarInfoError::System {
                        name: shortened(value),
                    });
                }
                once("System", &mut self.system, value.to_owned())
            }
            "Sig" => {
                if self.signatures.len() == MOST_SIGNATURES {
                    return Err(NarInfoError::TooMany {
                        key: "Sig",
                        most: MOST_SIGNATURES,
                    });
                }
                self.signatures
                    .push(value.parse().map_err(NarInfoError::Signature)?);
                Ok(())
            }
            "CA" => {
                let address = match value {
                    "" => None,
                    text => Some(text.parse().map_err(NarInfoError::ContentAddress)?),
                };
                once("CA", &mut self.ca, address)
            }
            _ => Ok(()),
        }
    }

    fn finish(mut self) -> Result<NarInfo, NarInfoError> {
        self.signatures.sort();
        self.signatures.dedup();
        let missing = |key| NarInfoError::Missing { key };
        Ok(NarInfo {
            store_path: self.store_path.ok_or(missing("StorePath"))?,
            url: self.url.ok_or(missing("URL"))?,
            compression: self.compression.unwrap_or(Compression::Bzip2),
            file_hash: self.file_hash,
            file_size: self.file_size,
            nar_hash: self.nar_hash.ok_or(missing("NarHash"))?,
            nar_size: self.nar_size.ok_or(missing("NarSize"))?,
            references: self.references.unwrap_or_default(),
            deriver: self.deriver.flatten(),
            system: self.system.filter(|system| !system.is_empty()),
            signatures: self.signatures,
            ca: self.ca.flatten(),
        })
    }
}

fn once<T>(key: &'static str, slot: &mut Option<T>, value: T) -> Result<(), NarInfoError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(NarInfoError::Twice { key }),
    }
}

fn sha256(key: &'static str, value: &str) -> Result<Hash, NarInfoError> {
    let hash: Hash = value
        .parse()
        .map_err(|source| NarInfoError::Hash { key, source })?;
    match hash.algorithm() {
        HashAlgorithm::Sha256 => Ok(hash),
        algorithm => Err(NarInfoError::Algorithm { key, algorithm }),
    }
}

fn number(key: &'static str, value: &str) -> Result<u64, NarInfoError> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    value
        .parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| NarInfoError::Number {
            key,
            value: shortened(value),
        })
}

fn base_name(key: &'static str, value: &str) -> Result<StorePath, NarInfoError> {
    StorePath::from_base_name(value).map_err(|source| NarInfoError::StorePath { key, source })
}

fn references(value: &str) -> Result<Vec<StorePath>, NarInfoError> {
    let mut paths = BTreeSet::new();
    for text in value.split(' ').filter(|text| !text.is_empty()) {
        if paths.len() == MOST_REFERENCES {
            return Err(NarInfoError::TooMany {
                key: "References",
                most: MOST_REFERENCES,
            });
        }
        paths.insert(base_name("References", text)?);
    }
    Ok(paths.into_iter().collect())
}
