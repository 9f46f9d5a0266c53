//! What keeps a container from starting, and the one place where that becomes a code and a line for a person.

use std::io;
use std::sync::Arc;

use api::hub::ClientError;
use env_spec::believe::{PointerError, RecordError};
use env_spec::generation::GenerationError;
use env_spec::{EnvironmentName, ReferenceError};
use host::error::one_line;
use store::{CollectError, FetchError, PresentError, ProgressView, StoreError};
use ttrpc::Code;

use crate::revocations::Unconfirmed;

/// Why the agent did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    #[error("{0}")]
    Request(String),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(
        "the pin {pin} was made from {made_from}, but the pod asks for {reference}: the pin is stale; remove the annotation nival.dev/generation or make the pin anew"
    )]
    StalePin {
        pin: String,
        made_from: String,
        reference: String,
    },
    #[error(
        "{reference} is at the hub {hub}, but this node asks {configured} only; leave the hub out of the reference"
    )]
    OtherHub {
        reference: String,
        hub: String,
        configured: String,
    },
    #[error(
        "environment {environment} is not visible to namespace {namespace}: no policy rule allows it there; add one to {file}"
    )]
    NotVisible {
        environment: EnvironmentName,
        namespace: String,
        file: String,
    },
    #[error("{what} does not exist at the hub {hub}; check its name, or push it")]
    Unknown { what: String, hub: String },
    #[error("cannot ask the hub for {what}")]
    Hub {
        what: String,
        #[source]
        source: Box<ClientError>,
    },
    #[error(
        "the hub {hub} did not answer in time about {what}; look at the hub and the way to it, the pod is tried again"
    )]
    SilentHub { what: String, hub: String },
    #[error(
        "cannot tell who may see {environment}: the hub cannot be asked and was never asked before"
    )]
    NeverAsked {
        environment: EnvironmentName,
        #[source]
        source: Box<ClientError>,
    },
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Generation(#[from] GenerationError),
    #[error(transparent)]
    Pointer(#[from] PointerError),
    #[error("{generation} is revoked by {owner}: {reason}; let the pod use another generation")]
    Revoked {
        generation: String,
        owner: String,
        reason: String,
    },
    #[error(
        "{generation} does not start: the hub confirmed its owner's revocation list {since}, and this node wants that within {most} s; look at the hub and the way to it, the pod is tried again"
    )]
    UnconfirmedRevocations {
        generation: String,
        since: String,
        most: u64,
        #[source]
        source: Option<Arc<Unconfirmed>>,
    },
    #[error("fetching {generation}: {}", progress_text(progress))]
    Fetching {
        generation: String,
        progress: ProgressView,
    },
    #[error("{generation} cannot be had")]
    Fetch {
        generation: String,
        #[source]
        source: Arc<FetchError>,
    },
    #[error("cannot present {generation}")]
    Present {
        generation: String,
        #[source]
        source: Box<PresentError>,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Collect(#[from] CollectError),
    #[error("the node cannot keep its own notes: {what}")]
    State {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("the credential {name} cannot be read")]
    Credential {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "credential {name} is not here yet: the Secret {secret} must be there with a key `token`, and `nival-operator node` must run on this node; the pod is tried again"
    )]
    NoCredential { name: String, secret: String },
    /// One that several waited for.
    #[error(transparent)]
    Shared(#[from] Arc<Self>),
    #[error("the agent is stopping; the container is started again")]
    Stopping,
}

impl AgentError {
    /// Returns the code for whoever asked.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Request(_) | Self::Reference(_) | Self::OtherHub { .. } => Code::INVALID_ARGUMENT,
            Self::NotVisible { .. } => Code::PERMISSION_DENIED,
            Self::Unknown { .. } => Code::NOT_FOUND,
            Self::StalePin { .. }
            | Self::Record(_)
            | Self::Generation(_)
            | Self::Pointer(_)
            | Self::Revoked { .. } => Code::FAILED_PRECONDITION,
            Self::Hub { source, .. } | Self::NeverAsked { source, .. } => client_code(source),
            Self::Fetching { .. }
            | Self::SilentHub { .. }
            | Self::UnconfirmedRevocations { .. }
            | Self::NoCredential { .. }
            | Self::Stopping => Code::UNAVAILABLE,
            Self::Fetch { source, .. } => fetch_code(source),
            Self::Shared(error) => error.code(),
            Self::Present { .. }
            | Self::Store(_)
            | Self::Collect(_)
            | Self::State { .. }
            | Self::Credential { .. } => Code::INTERNAL,
        }
    }

    /// Returns the name under which the error is counted.
    pub(crate) fn label(&self) -> &'static str {
        match self.code() {
            Code::INVALID_ARGUMENT => "invalid-argument",
            Code::PERMISSION_DENIED => "permission-denied",
            Code::NOT_FOUND => "not-found",
            Code::FAILED_PRECONDITION => "failed-precondition",
            Code::DATA_LOSS => "data-loss",
            Code::RESOURCE_EXHAUSTED => "resource-exhausted",
            Code::UNAVAILABLE => "unavailable",
            _ => "internal",
        }
    }

    /// Returns the whole chain of causes as one line, as it appears in `kubectl describe pod`.
    pub(crate) fn line(&self) -> String {
        let mut line = one_line(self);
        if self.code() == Code::RESOURCE_EXHAUSTED {
            line.push_str("; free space there, or run `nival-agent collect`");
        }
        line
    }
}

impl From<AgentError> for ttrpc::Error {
    fn from(error: AgentError) -> Self {
        Self::RpcStatus(ttrpc::get_status(error.code(), error.line()))
    }
}

fn client_code(error: &ClientError) -> Code {
    use api::hub::error::ErrorCode;
    match error.code() {
        Some(ErrorCode::NotFound) => Code::NOT_FOUND,
        Some(ErrorCode::Unauthenticated | ErrorCode::TokenExpired | ErrorCode::Forbidden) => {
            Code::PERMISSION_DENIED
        }
        _ => Code::UNAVAILABLE,
    }
}

fn fetch_code(error: &FetchError) -> Code {
    match error {
        FetchError::Source { source, .. } if source.is_corrupt() => Code::DATA_LOSS,
        FetchError::Source { .. } | FetchError::NoSource { .. } | FetchError::Interrupted => {
            Code::UNAVAILABLE
        }
        FetchError::DiskFull { .. } => Code::RESOURCE_EXHAUSTED,
        FetchError::Publish { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
            Code::RESOURCE_EXHAUSTED
        }
        FetchError::Place { .. } | FetchError::Publish { .. } => Code::INTERNAL,
    }
}

fn progress_text(progress: &ProgressView) -> String {
    let ProgressView {
        paths_total,
        paths_done,
        bytes_total,
        bytes_done,
        ..
    } = *progress;
    let (unit, divisor) = if bytes_total >= 1_000_000_000 {
        ("GB", 1e9)
    } else {
        ("MB", 1e6)
    };
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let shown = |bytes: u64| bytes as f64 / divisor;
    format!(
        "{:.1} of {:.1} {unit} ({paths_done} of {paths_total} store paths); it goes on",
        shown(bytes_done),
        shown(bytes_total)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_said_in_fitting_units() {
        let progress = ProgressView {
            paths_total: 30,
            paths_done: 12,
            bytes_total: 5_000_000_000,
            bytes_done: 3_100_000_000,
            downloaded: 0,
        };
        let error = AgentError::Fetching {
            generation: "acme/api:12".to_owned(),
            progress,
        };
        assert_eq!(
            error.line(),
            "fetching acme/api:12: 3.1 of 5.0 GB (12 of 30 store paths); it goes on"
        );
        assert_eq!(error.code(), Code::UNAVAILABLE);
    }

    #[test]
    fn a_chain_is_one_line_with_the_cause_first() {
        let source = io::Error::new(io::ErrorKind::NotFound, "first\nsecond");
        let error = AgentError::Credential {
            name: "acme".to_owned(),
            source,
        };
        assert_eq!(
            error.line(),
            "the credential acme cannot be read: first second"
        );
    }

    #[test]
    fn a_full_disk_is_told_with_the_next_step() {
        let source = Arc::new(FetchError::DiskFull {
            what: "/nix/store/x".to_owned(),
            filesystem: "/var".into(),
            available: 1,
            needed: 2,
        });
        let error = AgentError::Fetch {
            generation: "acme/api:1".to_owned(),
            source,
        };
        assert_eq!(error.code(), Code::RESOURCE_EXHAUSTED);
        assert!(
            error.line().ends_with("run `nival-agent collect`"),
            "{}",
            error.line()
        );
    }
}
