//! Where an issuer's keys come from: read when they are needed, kept, and read anew now and then.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use reqwest::Certificate;
use reqwest::redirect::Policy;
use tokio::sync::Mutex;
use url::Url;

use super::keys::{self, Key, Keys};

/// Sets of keys are small.
const LARGEST_SET: usize = 256 << 10;
/// A token of a machine, or certificates of its authorities.
const LARGEST_FILE: u64 = 1 << 20;

/// However many tokens with unknown keys come, the issuer is asked no more often.
const FLOOR: Duration = Duration::from_secs(5);
/// Keys that the issuer took back count no longer than this, where it can be asked.
const FRESH: Duration = Duration::from_secs(300);
/// Nor than this, where it cannot.
const OLDEST: Duration = Duration::from_secs(24 * 3600);
/// A healthy issuer answers far sooner.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where the keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file.
    File(PathBuf),
    /// An HTTP server.
    Url {
        /// The address of the set.
        url: Url,
        /// Certificates of the only authorities to believe; without it, the machine's.
        ca_file: Option<PathBuf>,
        /// A file with a token to ask with, read anew each time.
        token_file: Option<PathBuf>,
    },
}

/// An issuer's keys.
#[derive(Debug)]
pub(super) struct KeySource {
    reader: Reader,
    kept: RwLock<Kept>,
    attempt: Mutex<Option<Attempt>>,
}

/// What reads them.
#[derive(Debug)]
enum Reader {
    File(PathBuf),
    Http {
        client: reqwest::Client,
        url: Url,
        token_file: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Default)]
struct Kept {
    keys: Arc<Keys>,
    /// When they were read; never at first.
    read_at: Option<Instant>,
}

#[derive(Debug)]
struct Attempt {
    at: Instant,
    failure: Option<Arc<SourceError>>,
}

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file with certificates has none.
    #[error("{} has no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is no HTTP client.
    #[error("cannot prepare to ask {url}")]
    Client {
        /// The address.
        url: Url,
        /// What the library said.
        #[source]
        source: reqwest::Error,
    },
    /// Nobody answered, or not to the end.
    #[error("cannot reach {url}")]
    Unreachable {
        /// The address.
        url: Url,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is none.
    #[error("{url} answered {status}")]
    Status {
        /// The address.
        url: Url,
        /// The status.
        status: u16,
    },
    /// More than any honest set.
    #[error("{place} has more than {LARGEST_SET} bytes")]
    TooLarge {
        /// Where it is.
        place: String,
    },
    /// No set of keys.
    #[error("{place} is no JSON Web Key Set")]
    NotASet {
        /// Where it is.
        place: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
}

impl KeySource {
    /// Prepares to read keys from there.
    pub(super) fn open(place: Place) -> Result<Self, SourceError> {
        let reader = match place {
            Place::File(path) => Reader::File(path),
            Place::Url {
                url,
                ca_file,
                token_file,
            } => Reader::Http {
                client: http_client(&url, ca_file.as_deref())?,
                url,
                token_file,
            },
        };
        Ok(Self {
            reader,
            kept: RwLock::default(),
            attempt: Mutex::default(),
        })
    }

    /// Returns the key of this identifier; `None` where the issuer has none.
    pub(super) async fn key(&self, id: &str) -> Result<Option<Arc<Key>>, Arc<SourceError>> {
        let (found, age) = self.look(id);
        if found.is_some() && age.is_some_and(|age| age < FRESH) {
            return Ok(found);
        }
        let mut attempt = match &found {
            // Whoever has a key that may still count need not wait for those who ask.
            Some(_) if age.is_some_and(|age| age < OLDEST) => match self.attempt.try_lock() {
                Ok(attempt) => attempt,
                Err(_) => return Ok(found),
            },
            _ => self.attempt.lock().await,
        };
        // Somebody may have asked just now.
        if attempt
            .as_ref()
            .is_none_or(|last| last.at.elapsed() >= FLOOR)
        {
            let outcome = self.read().await;
            let failure = match outcome {
                Ok(keys) => {
                    let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
                    *kept = Kept {
                        keys: Arc::new(keys),
                        read_at: Some(Instant::now()),
                    };
                    None
                }
                Err(error) => {
                    tracing::warn!(
                        error = crate::error::with_causes(&error),
                        "cannot read an issuer's keys"
                    );
                    Some(Arc::new(error))
                }
            };
            *attempt = Some(Attempt {
                at: Instant::now(),
                failure,
            });
        }
        let (found, age) = self.look(id);
        if found.is_some() && age.is_some_and(|age| age < OLDEST) {
            return Ok(found);
        }
        match attempt.as_ref().and_then(|last| last.failure.clone()) {
            Some(failure) => Err(failure),
            None => Ok(None),
        }
    }

    fn look(&self, id: &str) -> (Option<Arc<Key>>, Option<Duration>) {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let age = kept.read_at.map(|at| at.elapsed());
        (kept.keys.get(id).cloned(), age)
    }

    async fn read(&self) -> Result<Keys, SourceError> {
        let (place, text) = match &self.reader {
            Reader::File(path) => (path.display().to_string(), read_file(path)?),
            Reader::Http {
                client,
                url,
                token_file,
            } => {
                let text = fetch(client, url, token_file.as_deref()).await?;
                (url.to_string(), text)
            }
        };
        if text.len() > LARGEST_SET {
            return Err(SourceError::TooLarge { place });
        }
        keys::read(&text).map_err(|source| SourceError::NotASet { place, source })
    }
}

fn http_client(url: &Url, ca_file: Option<&Path>) -> Result<reqwest::Client, SourceError> {
    let failed = |source| SourceError::Client {
        url: url.clone(),
        source,
    };
    // A redirection could lead to where nothing vouches for the keys.
    let builder = reqwest::Client::builder()
        .user_agent(concat!("nival-hub/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .timeout(TIMEOUT);
    let builder = match ca_file {
        Some(path) => {
            let certificates = Certificate::from_pem_bundle(&read_file(path)?).map_err(failed)?;
            if certificates.is_empty() {
                return Err(SourceError::NoCertificate {
                    path: path.to_owned(),
                });
            }
            builder.tls_certs_only(certificates)
        }
        // The machine's certificates are not needed, and there may be none.
        None if url.scheme() == "http" => builder.tls_certs_only([]),
        None => builder,
    };
    builder.build().map_err(failed)
}

async fn fetch(
    http: &reqwest::Client,
    url: &Url,
    token_file: Option<&Path>,
) -> Result<Vec<u8>, SourceError> {
    let mut request = http.get(url.clone());
    if let Some(path) = token_file {
        let token = read_file(path)?;
        request = request.bearer_auth(String::from_utf8_lossy(&token).trim());
    }
    let unreachable = |source| SourceError::Unreachable {
        url: url.clone(),
        source,
    };
    let mut response = request.send().await.map_err(unreachable)?;
    if !response.status().is_success() {
        return Err(SourceError::Status {
            url: url.clone(),
            status: response.status().as_u16(),
        });
    }
    let mut text = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(unreachable)? {
        text.extend_from_slice(&piece);
        if text.len() > LARGEST_SET {
            break;
        }
    }
    Ok(text)
}

fn read_file(path: &Path) -> Result<Vec<u8>, SourceError> {
    host::fs::read_bounded(path, LARGEST_FILE).map_err(|source| SourceError::File {
        path: path.to_owned(),
        source,
    })
}
