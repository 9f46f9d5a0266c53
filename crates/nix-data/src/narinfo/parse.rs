//! Reading a narinfo, line by line and within bounds.

use std::collections::BTreeSet;

use super::error::NarInfoError;
use super::{Compression, NarInfo, url};
use crate::hash::shortened;
use crate::{ContentAddress, Hash, HashAlgorithm, Signature, StorePath};

/// The largest narinfo that is read: more than 10,000 references of usual length.
pub(super) const LARGEST: usize = 2 << 20;

/// The most references of one path; a closure has at most 5,000 paths.
const MOST_REFERENCES: usize = 10_000;

/// The most signatures of one path.
const MOST_SIGNATURES: usize = 100;

/// The longest line but that of the references.
pub(super) const LONGEST_LINE: usize = 8 << 10;

/// Reads the whole text.
pub(super) fn parse(text: &str) -> Result<NarInfo, NarInfoError> {
    if text.len() > LARGEST {
        return Err(NarInfoError::TooLarge { length: text.len() });
    }
    let mut fields = Fields::default();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        fields.read_line(index + 1, line)?;
    }
    fields.finish()
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
                url::check(value).map_err(NarInfoError::Url)?;
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
