//! Everything that a request can fail of, and the one place that turns it into a status and words for the client.

use api::hub::error::{ErrorBody, ErrorCode};
use axum::Json;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use env_spec::generation::GenerationError;
use env_spec::{EnvironmentName, SignedError};
use nix_data::{NarInfoError, StorePath};

use crate::oidc::IdentityError;
use crate::storage::InspectError;

/// Why a request was not done.
///
/// `Display` may tell internals: it goes to the log. [`HubError::public`] is what the client sees.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HubError {
    /// No token where one is needed.
    #[error("no token: send one of the owner as `Authorization: Bearer …`")]
    Unauthenticated,
    /// A token that is not known, was revoked, or is no token at all.
    #[error("the token is not valid: it is not known to this hub or was revoked")]
    InvalidToken,
    /// A token past its time.
    #[error(
        "the token expired at {at}; ask the hub's administrator for a new one (`nival-hub token create`)"
    )]
    TokenExpired {
        /// When (RFC 3339).
        at: String,
    },
    /// A token of another issuer that does not count.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A token of somebody else.
    #[error("the token belongs to {holder}; this needs one of {owner}")]
    ForeignToken {
        /// Whose it is.
        holder: String,
        /// Whose it should be.
        owner: String,
    },
    /// A token that may only read.
    #[error("the token may only read; this needs one with scope push")]
    ReadOnlyToken,
    /// Absent, or private and the asker may not know.
    #[error("{what}")]
    NotFound {
        /// What was looked for, in words that are the same for absent and for private things.
        what: String,
    },
    /// No such address.
    #[error("there is nothing at {path}; is this the address of a hub's API or cache?")]
    UnknownRoute {
        /// The address, shortened.
        path: String,
    },
    /// The address exists, but not for this method.
    #[error("{method} is not possible here")]
    MethodNotAllowed {
        /// The method.
        method: Method,
    },
    /// A name in the address or a value in the body is not valid.
    #[error("{0}")]
    BadRequest(String),
    /// The body is no JSON of the right form.
    #[error("the request's body is not valid: {source}")]
    BadBody {
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The body ended before its end.
    #[error("the request's body was cut off after {received} bytes")]
    CutOff {
        /// How much came.
        received: u64,
        /// What the connection said.
        #[source]
        source: axum::Error,
    },
    /// The body came too slowly.
    #[error("the request's body stalled for {seconds} seconds")]
    Stalled {
        /// How long nothing came.
        seconds: u64,
    },
    /// The body came, but too slowly.
    #[error(
        "the request's body came too slowly: {received} bytes after {seconds} seconds of waiting; \
         the least is {least} bytes a second"
    )]
    TooSlow {
        /// How much came.
        received: u64,
        /// How long the hub waited for it.
        seconds: u64,
        /// The least in a second.
        least: u64,
    },
    /// The body is larger than the limit.
    #[error("{what} is larger than the {limit} bytes that this hub takes")]
    TooLarge {
        /// What was sent.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The record is malformed.
    #[error("{}", with_causes(.0))]
    Record(#[from] SignedError),
    /// The record's parts do not agree.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// Nobody signed.
    #[error(
        "{subject} is not signed; this hub takes signed records only (`nival key generate` makes a key)"
    )]
    Unsigned {
        /// The record.
        subject: String,
    },
    /// Somebody else pushed first.
    #[error(
        "the head of {environment} is {head}, but the pushed record is number {number} with parent {parent}: \
         somebody else has pushed; look at their generation and push again on top of it"
    )]
    ParentIsNotHead {
        /// The environment.
        environment: EnvironmentName,
        /// The head in words.
        head: String,
        /// The record's number.
        number: u64,
        /// The record's parent in words.
        parent: String,
    },
    /// Somebody else moved the pointer first.
    #[error(
        "the live pointer of {environment} has sequence {present}, so the next is {}; this one has {given}: \
         it moved meanwhile; read it and try again",
        present + 1
    )]
    PointerMoved {
        /// The environment.
        environment: EnvironmentName,
        /// The sequence the hub has.
        present: u64,
        /// The sequence that came.
        given: u64,
    },
    /// Somebody else changed the revocation list first.
    #[error(
        "the revocation list of {owner} has sequence {present}, so the next is {}; this one has {given}: \
         it changed meanwhile; read it and try again",
        present + 1
    )]
    RevocationsChanged {
        /// The owner.
        owner: String,
        /// The sequence the hub has.
        present: u64,
        /// The sequence that came.
        given: u64,
    },
    /// The generation must not become live.
    #[error(
        "{generation} is revoked: {reason}; push another one, or take it off the list (`nival revoke --undo`)"
    )]
    Revoked {
        /// The generation.
        generation: String,
        /// Why its owner revoked it.
        reason: String,
    },
    /// As many wait as may.
    #[error(
        "too many requests wait for live pointers to move; ask again later, or without waiting"
    )]
    Busy,
    /// The record names what the hub does not have.
    #[error("{subject} names what this hub does not have: {lacking}; upload it first")]
    Incomplete {
        /// The record.
        subject: String,
        /// What is missing.
        lacking: String,
    },
    /// The cache has other bytes under this store path.
    #[error(
        "{path} is in the cache already, with {differs}: have {present}, sent {given}; the hub keeps what it has"
    )]
    Conflict {
        /// The store path.
        path: StorePath,
        /// What is not the same.
        differs: &'static str,
        /// What the cache has.
        present: String,
        /// What came.
        given: String,
    },
    /// The bytes are not those that their name or narinfo promises.
    #[error("{what} has {actual}, but it was sent as {claimed}")]
    HashMismatch {
        /// What was sent.
        what: String,
        /// What it is.
        actual: String,
        /// What it should be.
        claimed: String,
    },
    /// A narinfo that cannot be read.
    #[error("{}", with_causes(.0))]
    NarInfo(#[from] NarInfoError),
    /// A NAR file that cannot be decompressed or read.
    #[error("{}", with_causes(.0))]
    Nar(#[source] InspectError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// The object store failed.
    #[error("the object store failed at {location}")]
    Storage {
        /// The object.
        location: String,
        /// What it said.
        #[source]
        source: object_store::Error,
    },
    /// No space left, or a quota is used up.
    #[error("the disk is full: {location} was not stored")]
    DiskFull {
        /// The object.
        location: String,
    },
    /// What the hub stored itself cannot be read any more.
    #[error("what the hub stored is damaged: {0}")]
    Damaged(String),
    /// A task of the hub panicked.
    #[error("a task of the hub failed")]
    Task(#[from] tokio::task::JoinError),
    /// The system gave no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

impl HubError {
    /// Returns the status. Exhaustive, so that a new variant forces a decision.
    #[must_use]
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated | Self::InvalidToken | Self::TokenExpired { .. } => {
                StatusCode::UNAUTHORIZED
            }
            Self::Identity(error) => match error {
                IdentityError::NoKeys { .. } => StatusCode::SERVICE_UNAVAILABLE,
                IdentityError::NotAllowed { .. } => StatusCode::FORBIDDEN,
                _ => StatusCode::UNAUTHORIZED,
            },
            Self::ForeignToken { .. } | Self::ReadOnlyToken => StatusCode::FORBIDDEN,
            Self::NotFound { .. } | Self::UnknownRoute { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_)
            | Self::BadBody { .. }
            | Self::CutOff { .. }
            | Self::Record(_)
            | Self::Generation(_)
            | Self::NarInfo(_) => StatusCode::BAD_REQUEST,
            Self::Stalled { .. } | Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::ParentIsNotHead { .. }
            | Self::PointerMoved { .. }
            | Self::RevocationsChanged { .. }
            | Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::Unsigned { .. }
            | Self::Revoked { .. }
            | Self::Incomplete { .. }
            | Self::HashMismatch { .. }
            | Self::Nar(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::DiskFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Self::Database(_)
            | Self::Storage { .. }
            | Self::Damaged(_)
            | Self::Task(_)
            | Self::Random(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the code for programs.
    #[must_use]
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Unauthenticated | Self::InvalidToken => ErrorCode::Unauthenticated,
            Self::TokenExpired { .. } | Self::Identity(IdentityError::Expired { .. }) => {
                ErrorCode::TokenExpired
            }
            Self::Identity(IdentityError::NoKeys { .. }) => ErrorCode::Internal,
            Self::Identity(IdentityError::NotAllowed { .. }) => ErrorCode::Forbidden,
            Self::Identity(_) => ErrorCode::Unauthenticated,
            Self::ForeignToken { .. } | Self::ReadOnlyToken => ErrorCode::Forbidden,
            Self::NotFound { .. } | Self::UnknownRoute { .. } => ErrorCode::NotFound,
            Self::MethodNotAllowed { .. }
            | Self::BadRequest(_)
            | Self::BadBody { .. }
            | Self::CutOff { .. }
            | Self::Stalled { .. }
            | Self::TooSlow { .. }
            | Self::Record(_)
            | Self::Generation(_)
            | Self::NarInfo(_) => ErrorCode::BadRequest,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::ParentIsNotHead { .. } => ErrorCode::ParentIsNotHead,
            Self::PointerMoved { .. } => ErrorCode::PointerMoved,
            Self::RevocationsChanged { .. } => ErrorCode::RevocationsChanged,
            Self::Revoked { .. } => ErrorCode::Revoked,
            Self::Busy => ErrorCode::Busy,
            Self::Conflict { .. } => ErrorCode::Conflict,
            Self::Unsigned { .. } => ErrorCode::Unsigned,
            Self::Incomplete { .. } => ErrorCode::Incomplete,
            Self::HashMismatch { .. } | Self::Nar(_) => ErrorCode::HashMismatch,
            Self::Database(_)
            | Self::Storage { .. }
            | Self::DiskFull { .. }
            | Self::Damaged(_)
            | Self::Task(_)
            | Self::Random(_) => ErrorCode::Internal,
        }
    }

    /// Returns what the client may know. `incident` names the line in the log that tells the rest.
    #[must_use]
    pub(crate) fn public(&self, incident: &str) -> ErrorBody {
        let code = self.code();
        let message = match (self, code) {
            (Self::DiskFull { .. }, _) => {
                "the hub's disk is full; its administrator must make space, then try again"
                    .to_owned()
            }
            (_, ErrorCode::Internal) => {
                format!("the hub failed; its log says why under incident {incident}")
            }
            _ => self.to_string(),
        };
        ErrorBody { code, message }
    }
}

impl From<sqlx::Error> for HubError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            // SQLITE_FULL.
            sqlx::Error::Database(cause) if cause.code().as_deref() == Some("13") => {
                Self::DiskFull {
                    location: "a change of the database".to_owned(),
                }
            }
            _ => Self::Database(error),
        }
    }
}

impl HubError {
    /// Returns the error of an object.
    pub(crate) fn storage(location: String, source: object_store::Error) -> Self {
        if is_full(&source) {
            Self::DiskFull { location }
        } else {
            Self::Storage { location, source }
        }
    }
}

fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let kinds = [
        std::io::ErrorKind::StorageFull,
        std::io::ErrorKind::QuotaExceeded,
    ];
    std::iter::successors(Some(error), |one| one.source())
        .filter_map(|one| one.downcast_ref::<std::io::Error>())
        .any(|one| kinds.contains(&one.kind()))
}

impl IntoResponse for HubError {
    fn into_response(self) -> Response {
        let status = self.status();
        let incident = crate::random::hex::<4>().unwrap_or_default();
        if status.is_server_error() {
            tracing::error!(incident, error = %with_causes(&self), "request failed");
        } else {
            tracing::debug!(%status, error = %self, "request refused");
        }
        let mut response = (status, Json(self.public(&incident))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"nival-hub\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Returns an error with all its causes in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        text.push_str(": ");
        text.push_str(&one.to_string());
        cause = one.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internals_stay_in_the_log() {
        let error = HubError::Database(sqlx::Error::Protocol("secret table".to_owned()));
        let body = error.public("c0ffee");
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.message.contains("secret"), "{}", body.message);
        assert!(body.message.contains("c0ffee"), "{}", body.message);
        assert!(with_causes(&error).contains("secret table"));
    }

    #[test]
    fn refusals_tell_cause_and_next_step() {
        let error = HubError::TokenExpired {
            at: "2026-01-01T00:00:00Z".to_owned(),
        };
        assert_eq!(error.status(), StatusCode::UNAUTHORIZED);
        assert!(error.public("").message.contains("expired at 2026-01-01"));
    }
}
