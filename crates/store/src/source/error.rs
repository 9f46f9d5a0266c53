//! What goes wrong with a source, whose fault it is, and whether asking again may help.

use std::io;
use std::path::PathBuf;

use nix_data::{Hash, NarInfoError, StorePath};

use crate::unpack::UnpackError;

/// Why a source did not give a path.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The address is none of a source.
    #[error(
        "{address:?} is not the address of a binary cache: expected http://…, https://… or file:///folder"
    )]
    BadAddress {
        /// The address.
        address: String,
    },
    /// The source does not have it.
    #[error("{from} does not have {what}")]
    NotThere {
        /// The source.
        from: String,
        /// The path or file.
        what: String,
    },
    /// The network failed.
    #[error("cannot fetch {what} from {from}")]
    Network {
        /// The source.
        from: String,
        /// The path or file.
        what: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// The source answered with an error.
    #[error("{from} answered {status} when asked for {what}")]
    Status {
        /// The source.
        from: String,
        /// The path or file.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// A folder that is a source cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The narinfo is malformed.
    #[error("the narinfo of {path} from {from} is not valid")]
    NarInfo {
        /// The path.
        path: StorePath,
        /// The source.
        from: String,
        /// What is wrong.
        #[source]
        source: Box<NarInfoError>,
    },
    /// The narinfo is larger than any honest one.
    #[error("the narinfo of {path} from {from} is larger than {most} bytes")]
    NarInfoSize {
        /// The path.
        path: StorePath,
        /// The source.
        from: String,
        /// The most allowed.
        most: u64,
    },
    /// The narinfo is of another path.
    #[error("{from} answered with the narinfo of another path: asked for {wanted}, got {found}")]
    OtherPath {
        /// What was asked for.
        wanted: StorePath,
        /// What the narinfo is of.
        found: StorePath,
        /// The source.
        from: String,
    },
    /// The source has other bytes under this path: another build of it.
    #[error(
        "{from} has another build of {path}: its NAR hash is {found}, the signed record says {wanted}"
    )]
    OtherBytes {
        /// The path.
        path: StorePath,
        /// The source.
        from: String,
        /// The record's NAR hash.
        wanted: Box<Hash>,
        /// The narinfo's NAR hash.
        found: Box<Hash>,
    },
    /// The NAR is compressed in a way that is not read here.
    #[error(
        "the NAR of {path} at {from} is compressed with {method}, which is not supported: use zstd, xz or none"
    )]
    Compression {
        /// The path.
        path: StorePath,
        /// The source.
        from: String,
        /// The method.
        method: &'static str,
    },
    /// The bytes ended too early.
    #[error("truncated NAR of {path}: got {got} bytes from {from}, then nothing more")]
    Truncated {
        /// The path.
        path: StorePath,
        /// The source.
        from: String,
        /// How many came.
        got: u64,
    },
    /// The bytes come too slowly.
    #[error(
        "{from} sent {got} bytes of the NAR of {path} in {seconds} s, which is too slow to wait for; look at that cache and the way to it"
    )]
    Slow {
        /// The path.
        path: StorePath,
        /// The source.
        from: String,
        /// How many came.
        got: u64,
        /// In how much time.
        seconds: u64,
    },
    /// The bytes are not those of the record.
    #[error(
        "corrupt NAR of {path}: expected {wanted} ({wanted_size} bytes), got {found} ({found_size} bytes) from {from}"
    )]
    Corrupt {
        /// The path.
        path: StorePath,
        /// The source.
        from: String,
        /// The record's NAR hash.
        wanted: Box<Hash>,
        /// The record's NAR size.
        wanted_size: u64,
        /// The hash of what came.
        found: Box<Hash>,
        /// Its size.
        found_size: u64,
    },
    /// The bytes are not even a compressed NAR.
    #[error(
        "corrupt NAR of {path}: expected {wanted} ({wanted_size} bytes), got what cannot be read from {from}"
    )]
    Unreadable {
        /// The path.
        path: StorePath,
        /// The source.
        from: String,
        /// The record's NAR hash.
        wanted: Box<Hash>,
        /// The record's NAR size.
        wanted_size: u64,
        /// What is wrong.
        #[source]
        source: Box<UnpackError>,
    },
    /// The file is not the one that the narinfo describes, though the NAR in it is right.
    #[error(
        "corrupt NAR of {path}: the file from {from} is not the one that its narinfo describes ({detail})"
    )]
    OtherFile {
        /// The path.
        path: StorePath,
        /// The source.
        from: String,
        /// What differs.
        detail: String,
    },
}

impl SourceError {
    /// Tells whether the same source may do better when asked again: for faults of the network only. Corrupt bytes are
    /// never asked for again where they came from.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Truncated { .. } => true,
            Self::Status { status, .. } => *status >= 500 || matches!(*status, 408 | 425 | 429),
            _ => false,
        }
    }

    /// Tells whether the source sent, or has, other bytes than the record fixes.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        matches!(
            self,
            Self::Corrupt { .. }
                | Self::Unreadable { .. }
                | Self::OtherFile { .. }
                | Self::OtherPath { .. }
                | Self::NarInfo { .. }
                | Self::NarInfoSize { .. }
        )
    }

    /// Tells whether the source merely does not have the path.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NotThere { .. } | Self::OtherBytes { .. })
    }
}
