//! Binary caches that NARs come from. None is trusted: what they send is checked against the record.

mod binary_cache;
mod directory;
mod error;

use std::path::PathBuf;
use std::time::Duration;

use nix_data::{NarInfo, StorePath};
use url::Url;

pub use binary_cache::BinaryCache;
pub use directory::Directory;
pub use error::SourceError;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a source may send nothing at all.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// Narinfos are read up to this size: that of 5,000 references with long names.
const LARGEST_NARINFO: u64 = 2 << 20;

/// A binary cache.
#[derive(Debug, Clone)]
pub enum Source {
    /// Over HTTP or HTTPS.
    BinaryCache(BinaryCache),
    /// In a folder, as `nix copy --to file:///folder` makes it.
    Directory(Directory),
}

/// A NAR as the source has it, mostly compressed.
#[derive(Debug)]
pub enum NarBody {
    /// It comes over the network.
    Response(reqwest::Response),
    /// It is here.
    File(PathBuf),
}

impl Source {
    /// Returns the source at an address: `http://…`, `https://…`, `file:///folder` or `/folder`.
    ///
    /// # Errors
    /// Fails when the address is none of these.
    pub fn new(
        address: &str,
        token: Option<String>,
        http: &reqwest::Client,
    ) -> Result<Self, SourceError> {
        let refused = || SourceError::BadAddress {
            address: address.to_owned(),
        };
        if address.starts_with('/') {
            return Ok(Self::Directory(Directory::new(address.into())));
        }
        let url = Url::parse(address).map_err(|_| refused())?;
        match url.scheme() {
            "http" | "https" => Ok(Self::BinaryCache(BinaryCache::new(
                url,
                token,
                http.clone(),
            ))),
            "file" => url
                .to_file_path()
                .map(|folder| Self::Directory(Directory::new(folder)))
                .map_err(|()| refused()),
            _ => Err(refused()),
        }
    }

    /// Returns the address, for people: without user, password and query.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::BinaryCache(cache) => cache.name(),
            Self::Directory(folder) => folder.name(),
        }
    }

    /// Returns what the source says of a path.
    ///
    /// # Errors
    /// Fails when it does not have the path, when it cannot be asked, and when the answer is of another path.
    pub async fn narinfo(&self, path: &StorePath) -> Result<NarInfo, SourceError> {
        let text = match self {
            Self::BinaryCache(cache) => cache.narinfo(path).await?,
            Self::Directory(folder) => folder.narinfo(path)?,
        };
        let malformed = |source| SourceError::NarInfo {
            path: path.clone(),
            from: self.name().to_owned(),
            source: Box::new(source),
        };
        let info = NarInfo::parse(&text).map_err(malformed)?;
        if info.store_path != *path {
            return Err(SourceError::OtherPath {
                wanted: path.clone(),
                found: info.store_path,
                from: self.name().to_owned(),
            });
        }
        Ok(info)
    }

    /// Begins to read the NAR that a narinfo names.
    ///
    /// # Errors
    /// Fails when the source does not have it or cannot be asked.
    pub async fn nar(&self, info: &NarInfo) -> Result<NarBody, SourceError> {
        match self {
            Self::BinaryCache(cache) => cache.nar(info).await.map(NarBody::Response),
            Self::Directory(folder) => folder.nar(info).map(NarBody::File),
        }
    }
}

/// Returns the client for sources and hubs. `user_agent` is a program's name and version.
///
/// The process's TLS provider must be installed. A machine without any CA certificates gets a client that takes no
/// HTTPS server's word; plain HTTP works there.
///
/// # Errors
/// Fails only when the HTTP library cannot start.
pub fn http_client(user_agent: &str) -> Result<reqwest::Client, reqwest::Error> {
    let builder = || {
        reqwest::Client::builder()
            .user_agent(user_agent.to_owned())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT)
    };
    builder().build().or_else(|error| {
        tracing::warn!(%error, "no CA certificates on this machine: https:// addresses will not work");
        builder().tls_certs_only([]).build()
    })
}
