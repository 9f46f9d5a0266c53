//! Reads a NAR file once through: what is in it, whatever its narinfo says.

use std::io::{BufReader, Read as _};

use async_compression::tokio::bufread::{XzDecoder, ZstdDecoder};
use futures::TryStreamExt as _;
use nix_data::nar::{Listing, NarError};
use nix_data::{Compression, Hash, HashingReader};
use object_store::path::Path;
use tokio::io::{AsyncBufRead, AsyncRead};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::Storage;
use crate::error::{HubError, with_causes};
use crate::turn;

/// What an xz file may need to be read; Nix's own need far less.
const XZ_MEMORY: u64 = 256 << 20;

/// Pieces that pass from the decoder to the hash.
const PIECE: usize = 256 << 10;

/// What a NAR file holds.
#[derive(Debug, Clone)]
pub(crate) struct Inspected {
    /// The SHA-256 of the NAR.
    pub(crate) nar_hash: Hash,
    /// The length of the NAR.
    pub(crate) nar_size: u64,
    /// Its listing as an `.ls` file has it; there is none of names that are not UTF-8, and none that would be too large.
    pub(crate) listing: Option<String>,
}

/// Why a NAR file is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    /// This compression is not taken.
    #[error("NAR files with compression {0} are not taken; use zstd, xz or none")]
    Compression(Compression),
    /// It cannot be decompressed, or what comes out is no NAR.
    #[error("{file} holds no valid NAR")]
    Nar {
        /// The file.
        file: String,
        /// What is wrong.
        #[source]
        source: NarError,
    },
    /// It unpacks to more than the narinfo says.
    #[error("{file} unpacks to more than the {claimed} bytes that its narinfo says")]
    TooMuch {
        /// The file.
        file: String,
        /// What the narinfo says.
        claimed: u64,
    },
}

impl Storage {
    /// Reads a NAR file once through, at most to the length that its narinfo claims. The turn ends with the reading.
    pub(crate) async fn inspect(
        &self,
        location: &Path,
        compression: Compression,
        claimed: u64,
        turn: OwnedSemaphorePermit,
    ) -> Result<Inspected, HubError> {
        let pieces = self.stream(location, None).await?;
        let pieces = pieces.map_err(|error| std::io::Error::other(with_causes(&error)));
        let reader = StreamReader::new(Box::pin(pieces));
        let decoder = decoder(reader, compression).map_err(HubError::Nar)?;
        let bridge = SyncIoBridge::new(decoder);
        let file = location.filename().unwrap_or_default().to_owned();
        // Decompressing and hashing would hold up everybody else on this thread.
        turn::work(turn, move || {
            let buffered = BufReader::with_capacity(PIECE, bridge);
            // One byte more than claimed shows that there is more.
            let mut reader = HashingReader::new(buffered.take(claimed.saturating_add(1)));
            let listing = Listing::from_reader_if_small(&mut reader);
            let (nar_hash, nar_size, _) = reader.finish();
            if nar_size > claimed {
                return Err(HubError::Nar(InspectError::TooMuch { file, claimed }));
            }
            let listing = listing
                .map_err(|source| HubError::Nar(InspectError::Nar { file, source }))?
                .and_then(|listing| listing.to_json().ok());
            Ok(Inspected {
                nar_hash,
                nar_size,
                listing,
            })
        })
        .await?
    }
}

type Decoder = Box<dyn AsyncRead + Send + Unpin>;

fn decoder(
    reader: impl AsyncBufRead + Send + Unpin + 'static,
    compression: Compression,
) -> Result<Decoder, InspectError> {
    match compression {
        Compression::None => Ok(Box::new(reader)),
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::new(reader);
            decoder.multiple_members(true);
            Ok(Box::new(decoder))
        }
        Compression::Xz => {
            let mut decoder = XzDecoder::with_mem_limit(reader, XZ_MEMORY);
            decoder.multiple_members(true);
            Ok(Box::new(decoder))
        }
        Compression::Bzip2 => Err(InspectError::Compression(compression)),
    }
}
