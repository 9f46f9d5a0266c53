//! A client of the hub's API.

use std::time::Duration;

use bytes::Bytes;
use env_spec::{Digest, EnvironmentName, Reference, Signed};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::environment::{Environment, EnvironmentList, PutEnvironment};
use super::error::{ErrorBody, ErrorCode};
use super::history::History;
use super::info::Info;
use super::missing::{MissingRequest, MissingResponse};
use super::{
    cache_path, document, environment, generation, history, info, live, missing, revocations,
};

/// Answers are read up to this size: a generation of the largest closure, escaped as JSON text.
const LARGEST_ANSWER: usize = 96 << 20;

/// How long an answer may be on its way once a wait is over.
const GRACE: Duration = Duration::from_secs(15);

/// A hub, and the token to ask it with.
#[derive(Debug, Clone)]
pub struct HubClient {
    base: Url,
    token: Option<String>,
    http: reqwest::Client,
}

/// Why the hub gave no answer, or not the one hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is no URL of a hub.
    #[error("{address:?} is not the address of a hub: expected http://host:port or https://host")]
    BadAddress {
        /// The address as configured.
        address: String,
    },
    /// Nobody answered.
    #[error("cannot reach the hub at {url}; check that it runs and that the address is right")]
    Unreachable {
        /// What was asked.
        url: Url,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// The hub refused.
    #[error("the hub at {base} refused: {message}")]
    Refused {
        /// The hub.
        base: Url,
        /// The status.
        status: u16,
        /// What went wrong, for programs.
        code: ErrorCode,
        /// What the hub said.
        message: String,
    },
    /// Whatever answered, it does not speak this protocol.
    #[error("{url} answered {status} with no answer of a hub: {reason}; check the hub's address")]
    NotAHub {
        /// What was asked.
        url: Url,
        /// The status.
        status: u16,
        /// What was wrong with the answer.
        reason: String,
    },
}

impl ClientError {
    /// Returns the hub's code, where the hub refused.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::BadAddress { .. } | Self::Unreachable { .. } | Self::NotAHub { .. } => None,
        }
    }

    /// Tells whether the same call may succeed later with nothing changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            // Whoever answered in the hub's place, such as a proxy while the hub is away, speaks for it in nothing.
            Self::Unreachable { .. } | Self::NotAHub { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
            Self::BadAddress { .. } => false,
        }
    }

    /// Tells whether the hub itself said that there is no such thing, or none that the asker may see.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        use ErrorCode::{Forbidden, NotFound, TokenExpired, Unauthenticated};
        matches!(
            self.code(),
            Some(NotFound | Forbidden | Unauthenticated | TokenExpired)
        )
    }
}

/// Puts a token on a request, if there is one.
pub fn install_token(request: RequestBuilder, token: Option<&str>) -> RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

impl HubClient {
    /// Returns a client for the hub at this address.
    ///
    /// # Errors
    /// Fails when the address is no HTTP URL.
    pub fn new(
        address: &str,
        token: Option<String>,
        http: reqwest::Client,
    ) -> Result<Self, ClientError> {
        let text = if address.contains("://") {
            address.to_owned()
        } else {
            format!("http://{address}")
        };
        let base = Url::parse(text.trim_end_matches('/'))
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
        let base = base.ok_or_else(|| ClientError::BadAddress {
            address: address.to_owned(),
        })?;
        Ok(Self { base, token, http })
    }

    /// Returns the hub's address.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Returns the token that requests carry.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Returns the address of an owner's binary cache.
    #[must_use]
    pub fn cache_url(&self, owner: &str) -> Url {
        self.url(&cache_path(owner))
    }

    /// Returns what the hub is.
    ///
    /// # Errors
    /// See [`ClientError`]; so for all calls.
    pub async fn info(&self) -> Result<Info, ClientError> {
        self.get(info::PATH).await
    }

    /// Returns the environments that this token may see.
    pub async fn environments(&self) -> Result<EnvironmentList, ClientError> {
        self.get(environment::LIST_PATH).await
    }

    /// Returns one environment.
    pub async fn environment(&self, name: &EnvironmentName) -> Result<Environment, ClientError> {
        self.get(&environment::path(name)).await
    }

    /// Makes an environment or changes it.
    pub async fn put_environment(
        &self,
        name: &EnvironmentName,
        body: &PutEnvironment,
    ) -> Result<Environment, ClientError> {
        self.send_json(Method::PUT, &environment::path(name), body)
            .await
    }

    /// Returns the live pointer, unverified.
    pub async fn live(&self, name: &EnvironmentName) -> Result<Signed, ClientError> {
        self.get(&live::path(name)).await
    }

    /// Returns the live pointer, unverified, as soon as its sequence is above `after`; `None` when the wait ends without.
    /// The HTTP client must be patient enough: what it allows an answer to stand still should be above the wait.
    pub async fn live_after(
        &self,
        name: &EnvironmentName,
        after: u64,
        wait: Duration,
    ) -> Result<Option<Signed>, ClientError> {
        let wait = wait.min(live::LONGEST_WAIT);
        let mut url = self.url(&live::path(name));
        url.set_query(Some(&format!("after={after}&wait={}", wait.as_secs())));
        let request = self.http.get(url).timeout(wait + GRACE);
        let response = self.answer(install_token(request, self.token())).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        read_json(self.accept(response).await?).await.map(Some)
    }

    /// Moves the live pointer.
    pub async fn put_live(
        &self,
        name: &EnvironmentName,
        pointer: &Signed,
    ) -> Result<(), ClientError> {
        let request = self.request(Method::PUT, &live::path(name)).json(pointer);
        self.send(request).await.map(drop)
    }

    /// Returns an owner's revocation list, unverified. Where the owner never revoked anything, the hub answers
    /// [`ErrorCode::NotFound`].
    pub async fn revocations(&self, owner: &str) -> Result<Signed, ClientError> {
        self.get(&revocations::path(owner)).await
    }

    /// Puts an owner's next revocation list.
    pub async fn put_revocations(&self, owner: &str, list: &Signed) -> Result<(), ClientError> {
        let path = revocations::path(owner);
        let request = self.request(Method::PUT, &path).json(list);
        self.send(request).await.map(drop)
    }

    /// Returns a generation's record, unverified. The reference must have a number or a digest.
    pub async fn generation(&self, reference: &Reference) -> Result<Signed, ClientError> {
        let name = &reference.environment;
        let path = match (reference.digest, reference.number) {
            (Some(digest), _) => generation::path_by_digest(name, digest),
            (None, Some(number)) => generation::path_by_number(name, number),
            (None, None) => live::path(name),
        };
        self.get(&path).await
    }

    /// Publishes a generation.
    pub async fn post_generation(
        &self,
        name: &EnvironmentName,
        record: &Signed,
    ) -> Result<(), ClientError> {
        let request = self
            .request(Method::POST, &generation::post_path(name))
            .json(record);
        self.send(request).await.map(drop)
    }

    /// Returns an environment's history.
    pub async fn history(&self, name: &EnvironmentName) -> Result<History, ClientError> {
        self.get(&history::path(name)).await
    }

    /// Returns a document, unverified.
    pub async fn document(
        &self,
        name: &EnvironmentName,
        digest: Digest,
    ) -> Result<Bytes, ClientError> {
        let response = self
            .send(self.request(Method::GET, &document::path(name, digest)))
            .await?;
        read_bounded(response, document::LARGEST_DOCUMENT).await
    }

    /// Stores a document.
    pub async fn put_document(
        &self,
        name: &EnvironmentName,
        digest: Digest,
        contents: Bytes,
    ) -> Result<(), ClientError> {
        let request = self
            .request(Method::PUT, &document::path(name, digest))
            .body(contents);
        self.send(request).await.map(drop)
    }

    /// Returns which paths an owner's cache lacks.
    pub async fn missing(
        &self,
        owner: &str,
        question: &MissingRequest,
    ) -> Result<MissingResponse, ClientError> {
        self.send_json(Method::POST, &missing::path(owner), question)
            .await
    }

    /// Puts a file of an owner's binary cache: `<hash>.narinfo`, `<hash>.ls` or `nar/<file>`.
    pub async fn put_cache_file(
        &self,
        owner: &str,
        file: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<(), ClientError> {
        let path = format!("{}/{file}", cache_path(owner));
        self.send(self.request(Method::PUT, &path).body(body))
            .await
            .map(drop)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{path}"));
        url
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        install_token(self.http.request(method, self.url(path)), self.token())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        read_json(self.send(self.request(Method::GET, path)).await?).await
    }

    async fn send_json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        read_json(self.send(self.request(method, path).json(body)).await?).await
    }

    /// Sends, and turns every answer that is no success into an error.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        self.accept(self.answer(request).await?).await
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let unreachable = |source: reqwest::Error| ClientError::Unreachable {
            url: source.url().unwrap_or(&self.base).clone(),
            source,
        };
        request.send().await.map_err(unreachable)
    }

    async fn accept(&self, response: Response) -> Result<Response, ClientError> {
        if response.status().is_success() {
            return Ok(response);
        }
        let (url, status) = (response.url().clone(), response.status().as_u16());
        let body = read_bounded(response, 64 << 10).await?;
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => Err(ClientError::Refused {
                base: self.base.clone(),
                status,
                code: body.code,
                message: body.message,
            }),
            Err(error) => Err(ClientError::NotAHub {
                url,
                status,
                reason: error.to_string(),
            }),
        }
    }
}

async fn read_json<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    let (url, status) = (response.url().clone(), response.status());
    let body = read_bounded(response, LARGEST_ANSWER).await?;
    serde_json::from_slice(&body).map_err(|error| not_a_hub(&url, status, error.to_string()))
}

/// Reads a body piece by piece, so that a hostile one cannot fill the memory.
async fn read_bounded(mut response: Response, limit: usize) -> Result<Bytes, ClientError> {
    let (url, status) = (response.url().clone(), response.status());
    let mut body = Vec::new();
    loop {
        let piece = response.chunk().await;
        match piece.map_err(|source| ClientError::Unreachable {
            url: url.clone(),
            source,
        })? {
            None => return Ok(body.into()),
            Some(piece) if body.len() + piece.len() <= limit => body.extend_from_slice(&piece),
            Some(_) => return Err(not_a_hub(&url, status, format!("more than {limit} bytes"))),
        }
    }
}

fn not_a_hub(url: &Url, status: StatusCode, reason: String) -> ClientError {
    ClientError::NotAHub {
        url: url.clone(),
        status: status.as_u16(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hub_itself_says_that_something_is_hidden() {
        let base: Url = "http://127.0.0.1:1".parse().unwrap();
        for status in [200, 403, 404, 503] {
            let reason = "<html>".to_owned();
            let url = base.clone();
            let page = ClientError::NotAHub {
                url,
                status,
                reason,
            };
            assert!(page.is_transient() && !page.is_hidden(), "{status}");
        }
        for (status, code, hidden, transient) in [
            (404, ErrorCode::NotFound, true, false),
            (403, ErrorCode::Forbidden, true, false),
            (401, ErrorCode::TokenExpired, true, false),
            (400, ErrorCode::BadRequest, false, false),
            (429, ErrorCode::Busy, false, true),
        ] {
            let refused = ClientError::Refused {
                base: base.clone(),
                status,
                code,
                message: String::new(),
            };
            let answers = (refused.is_hidden(), refused.is_transient());
            assert_eq!(answers, (hidden, transient), "{code:?}");
        }
    }
}
