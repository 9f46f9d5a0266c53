//! The compressions that binary caches use, with bounded memory.

use std::io::{self, BufReader, Read};

use liblzma::read::XzDecoder;
use liblzma::stream::Stream;
use nix_data::Compression;

/// xz's strongest setting needs 65 MB; more is an attack.
const XZ_MEMORY: u64 = 128 << 20;
/// zstd's strongest setting has windows of 128 MB; more is an attack.
const ZSTD_WINDOW_LOG: u32 = 27;

/// A NAR as it comes out of its compression.
pub(super) enum Decompressor<R: Read> {
    Plain(R),
    Xz(Box<XzDecoder<R>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<R>>>),
}

impl<R: Read> Decompressor<R> {
    /// Returns `None` for a compression that is not supported.
    pub(super) fn new(compression: Compression, source: R) -> io::Result<Option<Self>> {
        Ok(Some(match compression {
            Compression::None => Self::Plain(source),
            Compression::Xz => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Self::Xz(Box::new(XzDecoder::new_stream(source, stream)))
            }
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::new(source)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Self::Zstd(Box::new(decoder))
            }
            Compression::Bzip2 => return Ok(None),
        }))
    }

    /// Reads what follows the compressed data, so that all of the file was seen, and returns the source.
    pub(super) fn finish(self) -> io::Result<R> {
        let mut source = match self {
            Self::Plain(source) => source,
            Self::Xz(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish().into_inner(),
        };
        io::copy(&mut source, &mut io::sink())?;
        Ok(source)
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}
