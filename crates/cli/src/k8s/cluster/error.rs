//! What a cluster's refusals and silences mean to a user, and what to do about them.

use std::path::{Path, PathBuf};

use kube::config::KubeconfigError;

/// Why the cluster did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// No configuration.
    #[error("there is no cluster to ask: cannot use {}", said(file.as_deref()))]
    Configuration {
        /// The file of `--kubeconfig`.
        file: Option<PathBuf>,
        /// What is wrong with it.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// The configuration is one that cannot be used.
    #[error("cannot make a client for the cluster")]
    Client {
        /// What is wrong with it.
        #[source]
        source: kube::Error,
    },
    /// The server does not want to.
    #[error("the API server does not {doing}: {message}")]
    Refused {
        /// What was asked for.
        doing: String,
        /// The status.
        code: u16,
        /// Its reason, in one word.
        reason: String,
        /// Its own words.
        message: String,
    },
    /// Nobody answers.
    #[error("cannot {doing}: the API server at {address} cannot be asked")]
    Unreachable {
        /// What was asked for.
        doing: String,
        /// Where.
        address: String,
        /// What went wrong.
        #[source]
        source: kube::Error,
    },
    /// More than any cluster has.
    #[error("the API server has more {what} than can be read")]
    TooMany {
        /// Of which kind.
        what: &'static str,
    },
}

impl ClusterError {
    pub(super) fn configuration(file: Option<&Path>, source: KubeconfigError) -> Self {
        Self::Configuration {
            file: file.map(Path::to_owned),
            source: Box::new(source),
        }
    }

    pub(super) fn of_request(address: &str, doing: String, source: kube::Error) -> Self {
        match source {
            kube::Error::Api(status) => Self::Refused {
                doing,
                code: status.code,
                reason: status.reason.clone(),
                message: one_line(&status.message),
            },
            source => Self::Unreachable {
                doing,
                address: address.to_owned(),
                source,
            },
        }
    }

    /// Tells whether there is no such object, or no such kind.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Tells whether the user may not.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { code: 403, .. })
    }

    /// Tells whether somebody else changed the object meanwhile.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }

    /// Returns what to do next.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Configuration { .. } => Some(
                "set KUBECONFIG or --kubeconfig to the cluster's file, and --context to one of its contexts (`kubectl config get-contexts`)",
            ),
            Self::Unreachable { .. } => Some(
                "the address is of the kubeconfig's context; `kubectl version` tells whether kubectl reaches it",
            ),
            Self::Refused { code: 401, .. } => {
                Some("the cluster does not know who asks: log in to it anew")
            }
            // Who was asked says itself what to do.
            Self::Refused { message, .. } if message.contains("admission webhook") => None,
            Self::Refused { code: 403, .. } => Some(
                "`kubectl auth can-i --list` shows what you may; ask who runs the cluster for the rest",
            ),
            Self::Refused { code: 409, .. } => {
                Some("somebody else changed it at the same time: run the command again")
            }
            Self::Refused { .. } | Self::Client { .. } | Self::TooMany { .. } => None,
        }
    }
}

fn said(file: Option<&Path>) -> String {
    match file {
        Some(file) => file.display().to_string(),
        None => "KUBECONFIG or ~/.kube/config".to_owned(),
    }
}

/// Returns a text of the server's in one line.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
