//! Reads an owner's binary cache of a hub, to hash what it really serves.

use std::io;

use api::hub::{HubClient, install_token};
use async_compression::tokio::bufread::{XzDecoder, ZstdDecoder};
use env_spec::generation::ClosurePath;
use futures::TryStreamExt as _;
use nix_data::{Compression, Hash, HashingWriter, NarInfo};
use reqwest::{Response, StatusCode};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt as _};
use tokio_util::io::StreamReader;
use url::Url;

use crate::context::http_client;
use crate::error::{CommandError, Doing as _, Outcome};

/// Larger narinfos are refused.
const LARGEST_NARINFO: usize = 4 << 20;
/// `xz -9` takes 65 MiB to decompress; a header may ask for gigabytes.
const XZ_MEMORY: u64 = 128 << 20;

/// A binary cache.
#[derive(Debug)]
pub(crate) struct Cache {
    base: Url,
    token: Option<String>,
    http: reqwest::Client,
}

impl Cache {
    /// Returns an owner's cache.
    ///
    /// # Errors
    /// Fails when no HTTP client can be made.
    pub(crate) fn of(hub: &HubClient, owner: &str) -> Outcome<Self> {
        let token = hub.token().map(str::to_owned);
        Ok(Self {
            base: hub.cache_url(owner),
            token,
            http: http_client()?,
        })
    }

    /// Downloads a path's NAR and returns its hash and size as they really are.
    ///
    /// # Errors
    /// Fails when the cache lacks it or serves no NAR of it.
    pub(crate) async fn nar_hash(&self, path: &ClosurePath) -> Outcome<(Hash, u64)> {
        let info = self.narinfo(path).await?;
        let response = self.get(&info.url).await?;
        let stream = response.bytes_stream().map_err(io::Error::other);
        hash(StreamReader::new(stream), info.compression, path.nar_size)
            .await
            .doing(|| format!("cannot read the NAR of {} from {}", path.path, self.base))
    }

    async fn narinfo(&self, path: &ClosurePath) -> Outcome<NarInfo> {
        let name = format!("{}.narinfo", path.path.hash_part());
        let mut response = self.get(&name).await?;
        let mut text = Vec::new();
        while let Some(piece) = response.chunk().await? {
            text.extend_from_slice(&piece);
            if text.len() > LARGEST_NARINFO {
                return Err(CommandError::user(format!(
                    "{name} of {} is too large",
                    self.base
                )));
            }
        }
        let info = NarInfo::parse(&String::from_utf8_lossy(&text))
            .doing(|| format!("{name} of {} is not valid", self.base))?;
        if info.store_path != path.path {
            let text = format!(
                "{name} of {} is of {}, not of {}",
                self.base, info.store_path, path.path
            );
            return Err(CommandError::user(text));
        }
        Ok(info)
    }

    async fn get(&self, file: &str) -> Outcome<Response> {
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}/{file}",
            self.base.path().trim_end_matches('/')
        ));
        let request = install_token(self.http.get(url.clone()), self.token.as_deref());
        let response = request.send().await?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(CommandError::user(format!("{url} answered {status}"))),
        }
    }
}

async fn hash(
    source: impl AsyncBufRead + Unpin + Send,
    compression: Compression,
    size: u64,
) -> io::Result<(Hash, u64)> {
    match compression {
        Compression::None => hash_plain(source, size).await,
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::new(source);
            decoder.multiple_members(true);
            hash_plain(decoder, size).await
        }
        Compression::Xz => {
            let mut decoder = XzDecoder::with_mem_limit(source, XZ_MEMORY);
            decoder.multiple_members(true);
            hash_plain(decoder, size).await
        }
        Compression::Bzip2 => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "bzip2 is not supported",
        )),
    }
}

/// One byte past the size is enough to know that it is wrong: no endless stream fills the time.
async fn hash_plain(source: impl AsyncRead + Unpin + Send, size: u64) -> io::Result<(Hash, u64)> {
    use std::io::Write as _;
    let mut source = source.take(size.saturating_add(1));
    let mut hashing = HashingWriter::new(io::sink());
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = source.read(&mut buffer).await?;
        if count == 0 {
            let (hash, size, _) = hashing.finish();
            return Ok((hash, size));
        }
        hashing.write_all(&buffer[..count])?;
    }
}
