//! Why a reference does not lead to a generation that may run: one line each, as `kubectl apply` shows it.

use std::path::PathBuf;

use api::hub::ClientError;
use api::node::{TOKEN_KEY, TOKEN_RULE};
use env_spec::believe::{PointerError, RecordError};
use env_spec::revocation::ListError;
use env_spec::{EnvironmentName, Reference, SignedError};

/// Why a reference was not resolved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error(
        "{reference} is at the hub {hub}, but this cluster asks {configured} only: leave the hub out of the reference"
    )]
    OtherHub {
        reference: Box<Reference>,
        hub: String,
        configured: String,
    },
    #[error(
        "environment {environment} is not visible to namespace {namespace}: check its name, publish it with `nival push --public`, or add an [[allow]] rule to the cluster's agent.toml"
    )]
    NotVisible {
        environment: EnvironmentName,
        namespace: String,
    },
    #[error("{what} does not exist at the hub {hub}: check its name, or push it")]
    Unknown { what: String, hub: String },
    #[error(
        "generation {generation} has nothing for {} (it has: {available}): lock and push it for {} too, or let the pods run on other nodes by a nodeSelector of kubernetes.io/arch",
        systems.join(", "),
        if systems.len() == 1 { "that system" } else { "those systems" }
    )]
    MissingSystem {
        generation: String,
        systems: Vec<String>,
        available: String,
    },
    #[error(
        "generation {generation} is revoked: {reason}: push a newer one, or go back to an older one with `nival rollback`"
    )]
    Revoked { generation: String, reason: String },
    #[error(
        "the list of generations that {owner} has revoked was {confirmed}, and the policy allows {allowed} seconds: look at the hub and the way to it"
    )]
    OldRevocations {
        owner: String,
        confirmed: String,
        allowed: u64,
        #[source]
        source: Box<Unconfirmed>,
    },
    #[error(
        "{0}: sign it with a trusted key, or trust its key in [trust] of the cluster's agent.toml"
    )]
    Signed(SignedError),
    #[error(transparent)]
    Record(RecordError),
    #[error(transparent)]
    Pointer(PointerError),
    #[error("cannot ask the hub for {what}")]
    Hub {
        what: String,
        #[source]
        source: Box<ClientError>,
    },
    #[error(
        "the hub {hub} did not answer in time about {what}: look at the hub and the way to it, and try again"
    )]
    Silent { what: String, hub: String },
    #[error("the credential {name} cannot be read")]
    Credential {
        name: String,
        #[source]
        source: TokenError,
    },
}

/// Why an owner's list of revoked generations was not confirmed; what was known before counts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unconfirmed {
    #[error(transparent)]
    Hub(Box<ResolveError>),
    #[error(transparent)]
    List(#[from] ListError),
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("it is not configured")]
    Absent,
    #[error(transparent)]
    File(#[from] std::io::Error),
    #[error("{} holds no token: {TOKEN_RULE}", path.display())]
    NoToken { path: PathBuf },
    #[error("the Secret {namespace}/{name} has no token under the key {TOKEN_KEY}: {TOKEN_RULE}")]
    NoKey { namespace: String, name: String },
    #[error("the Secret {namespace}/{name} cannot be read")]
    Secret {
        namespace: String,
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
}

impl ResolveError {
    /// Tells whether the same question may be answered later with nothing changed by people.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Hub { source, .. } => source.is_transient(),
            Self::Silent { .. } | Self::OldRevocations { .. } => true,
            Self::Credential { source, .. } => match source {
                TokenError::Secret { source, .. } => match source.as_ref() {
                    kube::Error::Api(status) => status.code >= 500 || status.code == 429,
                    _ => true,
                },
                TokenError::Absent
                | TokenError::File(_)
                | TokenError::NoToken { .. }
                | TokenError::NoKey { .. } => false,
            },
            Self::OtherHub { .. }
            | Self::NotVisible { .. }
            | Self::Unknown { .. }
            | Self::MissingSystem { .. }
            | Self::Revoked { .. }
            | Self::Signed(_)
            | Self::Record(_)
            | Self::Pointer(_) => false,
        }
    }

    /// Returns the reason in one word, as events, metrics and conditions say it.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::OtherHub { .. } => "OtherHub",
            Self::NotVisible { .. } => "NotAllowed",
            Self::Unknown { .. } => "Unknown",
            Self::MissingSystem { .. } => "MissingSystem",
            Self::Revoked { .. } => "Revoked",
            Self::Signed(_)
            | Self::Record(RecordError::Signed(_))
            | Self::Pointer(PointerError::Signed(_)) => "Untrusted",
            Self::Record(RecordError::Other { .. } | RecordError::Generation(_))
            | Self::Pointer(PointerError::Foreign { .. }) => "Invalid",
            Self::Pointer(PointerError::Replayed { .. } | PointerError::Twofold { .. }) => {
                "Replayed"
            }
            Self::Hub { .. } | Self::Silent { .. } | Self::OldRevocations { .. } => "HubDown",
            Self::Credential { .. } => "Credential",
        }
    }
}

// By hand: that a record is not signed is said in one line with what to do.
impl From<RecordError> for ResolveError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Signed(error) => Self::Signed(error),
            other => Self::Record(other),
        }
    }
}

impl From<PointerError> for ResolveError {
    fn from(error: PointerError) -> Self {
        match error {
            PointerError::Signed(error) => Self::Signed(error),
            other => Self::Pointer(other),
        }
    }
}
