//! A store path as a compressed archive in a temporary file, checked against the lock while it is made.

#![expect(
    clippy::disallowed_types,
    reason = "an unnamed file has no path for fs_err to tell"
)]

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::Path;

use env_spec::generation::ClosurePath;
use nix_data::nar::Listing;
use nix_data::{Compression, Hash, HashingWriter, NarInfo, SecretKey};
use store::pack::{PackError, write_nar};

use crate::laptop;

/// Higher levels are slower by far and save little on programs; reading is as fast for all.
const LEVEL: i32 = 5;

/// An archive.
#[derive(Debug)]
pub(super) struct Archive {
    /// The path that is in it.
    pub(super) path: ClosurePath,
    /// The file. It has no name, so that nothing stays of it however the program ends.
    file: File,
    /// The hash of the file.
    pub(super) hash: Hash,
    /// The length of the file.
    pub(super) size: u64,
    /// The listing as JSON; `None` for names that JSON cannot carry, as with Nix, and where it would be too large.
    pub(super) listing: Option<String>,
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// The tree was not packed.
    #[error("cannot archive {path}")]
    Pack {
        /// The store path.
        path: String,
        /// Why not.
        #[source]
        source: PackError,
    },
    /// The temporary file was not to be written or read.
    #[error("cannot archive {path} to a temporary file")]
    Write {
        /// The store path.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The machine has other bytes than the lock says.
    #[error(
        "{path} on this machine has the NAR hash {found}, but the lock says {wanted}: it was changed after it was made; repair it with `nix store repair`"
    )]
    Changed {
        /// The store path.
        path: String,
        /// The hash of what is there.
        found: String,
        /// The hash in the lock.
        wanted: String,
    },
}

impl Archive {
    /// Archives a store path of this machine.
    pub(super) fn make(path: &ClosurePath) -> Result<Self, ArchiveError> {
        let name = || path.path.to_string();
        let write = |source| ArchiveError::Write {
            path: name(),
            source,
        };
        let file = tempfile::tempfile().map_err(write)?;
        let encoder = zstd::Encoder::new(HashingWriter::new(file), LEVEL).map_err(write)?;
        let packed =
            write_nar(Path::new(&name()), HashingWriter::new(encoder)).map_err(|source| {
                ArchiveError::Pack {
                    path: name(),
                    source,
                }
            })?;
        let (nar_hash, nar_size, encoder) = packed.finish();
        if nar_hash != path.nar_hash || nar_size != path.nar_size {
            let (found, wanted) = (nar_hash.to_sri(), path.nar_hash.to_sri());
            return Err(ArchiveError::Changed {
                path: name(),
                found,
                wanted,
            });
        }
        let (hash, size, mut file) = encoder.finish().map_err(write)?.finish();
        // Read back from the file: the listing is of the very bytes that go out.
        file.rewind().map_err(write)?;
        let decoder = zstd::Decoder::new(&mut file).map_err(write)?;
        let listing = Listing::from_reader_if_small(decoder)
            .map_err(|error| write(io::Error::other(error)))?;
        Ok(Self {
            path: path.clone(),
            file,
            hash,
            size,
            listing: listing.and_then(|listing| listing.to_json().ok()),
        })
    }

    /// Returns the file's contents from their beginning. One reader at a time: they share their place in the file.
    pub(super) fn reader(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    /// Returns the archive's place in a binary cache.
    pub(super) fn url(&self) -> String {
        format!(
            "nar/{}{}",
            self.hash.digest_nix32(),
            Compression::Zstd.extension()
        )
    }

    /// Returns the narinfo, signed.
    pub(super) fn narinfo(&self, key: &SecretKey, is_environment: bool) -> NarInfo {
        let mut info = NarInfo {
            store_path: self.path.path.clone(),
            url: self.url(),
            compression: Compression::Zstd,
            file_hash: Some(self.hash.clone()),
            file_size: Some(self.size),
            nar_hash: self.path.nar_hash.clone(),
            nar_size: self.path.nar_size,
            references: self.path.references.clone(),
            deriver: None,
            system: None,
            signatures: Vec::new(),
            ca: is_environment.then(|| laptop::content_address(&self.path)),
        };
        info.sign(key);
        info
    }
}
