//! A binary cache over HTTP.

use nix_data::{NarInfo, StorePath};
use reqwest::{Response, StatusCode};
use url::Url;

use super::{LARGEST_NARINFO, SourceError};

/// A binary cache over HTTP, and the token to ask it with.
#[derive(Clone)]
pub struct BinaryCache {
    base: Url,
    name: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl std::fmt::Debug for BinaryCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BinaryCache")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl BinaryCache {
    pub(super) fn new(mut base: Url, token: Option<String>, http: reqwest::Client) -> Self {
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        base.set_query(None);
        base.set_fragment(None);
        let mut shown = base.clone();
        // Only URLs without a host refuse these, and HTTP URLs have one.
        shown
            .set_username("")
            .and_then(|()| shown.set_password(None))
            .ok();
        let name = shown.as_str().trim_end_matches('/').to_owned();
        Self {
            base,
            name,
            token,
            http,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) async fn narinfo(&self, path: &StorePath) -> Result<String, SourceError> {
        let what = path.to_string();
        let mut response = self
            .get(&format!("{}.narinfo", path.hash_part()), &what)
            .await?;
        let mut text = Vec::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|source| self.network(&what, source))?
        {
            text.extend_from_slice(&piece);
            if text.len() as u64 > LARGEST_NARINFO {
                let (path, from) = (path.clone(), self.name.clone());
                return Err(SourceError::NarInfoSize {
                    path,
                    from,
                    most: LARGEST_NARINFO,
                });
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    pub(super) async fn nar(&self, info: &NarInfo) -> Result<Response, SourceError> {
        self.get(&info.url, &format!("the NAR of {}", info.store_path))
            .await
    }

    async fn get(&self, file: &str, what: &str) -> Result<Response, SourceError> {
        // The narinfo's parser lets only paths below the cache through, so this is plain appending.
        let url = self.base.join(file).map_err(|_| SourceError::BadAddress {
            address: file.to_owned(),
        })?;
        let mut request = self.http.get(url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request
            .send()
            .await
            .map_err(|source| self.network(what, source))?;
        let (from, what) = (self.name.clone(), what.to_owned());
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(SourceError::NotThere { from, what }),
            status => Err(SourceError::Status {
                from,
                what,
                status: status.as_u16(),
            }),
        }
    }

    /// The URL is in the message already, and may hold secrets.
    fn network(&self, what: &str, source: reqwest::Error) -> SourceError {
        SourceError::Network {
            from: self.name.clone(),
            what: what.to_owned(),
            source: source.without_url(),
        }
    }
}
