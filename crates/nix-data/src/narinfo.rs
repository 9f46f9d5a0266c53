//! narinfo: what a binary cache says of a store path, and who vouches for it.

mod error;
mod parse;
mod url;

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter, Write as _};
use std::str::FromStr;

pub use error::NarInfoError;
pub use url::UrlError;

use crate::hash::shortened;
use crate::{ContentAddress, Hash, PublicKey, SecretKey, Signature, StorePath};

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
        parse::parse(text)
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
