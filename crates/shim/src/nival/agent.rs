//! Asks the node's agent for environments.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::agent::{AgentClient, PrepareRequest, PrepareResponse, ReleaseRequest};
use containerd_shim::protos::shim_async::Client;
use tokio::net::UnixStream;
use ttrpc::Code;

use crate::error::flatten;

/// What the agent may take at most beyond the wait that it was given, and that part of a short wait. Together with it,
/// the wait stays below what containerd gives.
const MARGIN: Duration = Duration::from_secs(2);
const PART: u32 = 4;
/// Giving a lease back is a courtesy, which must not hold up the end of a container.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the agent did not prepare an environment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    #[error(
        "nival-agent is not running on this node: cannot connect to {}: {cause}; start it, then the pod is tried again",
        socket.display()
    )]
    Down {
        socket: PathBuf,
        cause: std::io::Error,
    },
    #[error(
        "nival-agent went away while it prepared {reference} ({cause}); the pod is tried again"
    )]
    Lost { reference: String, cause: String },
    #[error(
        "nival-agent did not answer for {reference} in {seconds} s; look at its log, the pod is tried again"
    )]
    Silent { reference: String, seconds: u64 },
    /// In the agent's own words, which say the cause and the next step.
    #[error("{message}")]
    Refused { message: String, code: Code },
    #[error(
        "nival-agent answered for {reference} without {missing}; agent and shim may be of different versions"
    )]
    Incomplete {
        reference: String,
        missing: &'static str,
    },
}

impl AgentError {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Down { .. } | Self::Lost { .. } => Code::UNAVAILABLE,
            Self::Silent { .. } => Code::DEADLINE_EXCEEDED,
            Self::Refused { code, .. } => *code,
            Self::Incomplete { .. } => Code::FAILED_PRECONDITION,
        }
    }
}

/// The agent's socket; a connection is made for each question, so that an agent may restart in between.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    socket: PathBuf,
}

impl Agent {
    pub(crate) fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    async fn connect(&self) -> Result<AgentClient, AgentError> {
        let down = |cause| AgentError::Down {
            socket: self.socket.clone(),
            cause,
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(&self.socket))
            .await
            .map_err(|_elapsed| down(std::io::ErrorKind::TimedOut.into()))?
            .map_err(down)?;
        Ok(AgentClient::new(Client::new(stream.into())))
    }

    /// Waits until the environment is on the node, at most as long as the request says.
    pub(crate) async fn prepare(
        &self,
        request: &PrepareRequest,
    ) -> Result<PrepareResponse, AgentError> {
        let client = self.connect().await?;
        let wait = Duration::from_millis(request.wait_milliseconds);
        let wait = wait + MARGIN.min(wait / PART);
        // The connection's own deadline would speak of nothing but time, and so comes later.
        let context = ttrpc::context::with_duration(wait + MARGIN);
        let reference = || request.reference.clone();
        let silent = || AgentError::Silent {
            reference: reference(),
            seconds: wait.as_secs(),
        };
        let answer = match tokio::time::timeout(wait, client.prepare(context, request)).await {
            Err(_elapsed) => return Err(silent()),
            Ok(Err(ttrpc::Error::RpcStatus(status))) => {
                return Err(AgentError::Refused {
                    message: flatten(&status.message),
                    code: status.code(),
                });
            }
            Ok(Err(error)) => {
                return Err(AgentError::Lost {
                    reference: reference(),
                    cause: flatten(&error.to_string()),
                });
            }
            Ok(Ok(answer)) => answer,
        };
        let missing = if !answer.mount_source.starts_with('/') {
            "a mount"
        } else if answer.environment.is_empty() {
            "an environment"
        } else {
            return Ok(answer);
        };
        Err(AgentError::Incomplete {
            reference: reference(),
            missing,
        })
    }

    /// Gives back what a bundle holds. The lease ends with the bundle's folder anyway.
    pub(crate) async fn release(&self, bundle: &Path) -> Result<(), AgentError> {
        let client = self.connect().await?;
        let request = ReleaseRequest {
            bundle: bundle.to_string_lossy().into_owned(),
            ..ReleaseRequest::default()
        };
        let context = ttrpc::context::with_duration(RELEASE_TIMEOUT);
        client
            .release(context, &request)
            .await
            .map_err(|error| AgentError::Lost {
                reference: "the release".to_owned(),
                cause: flatten(&error.to_string()),
            })?;
        Ok(())
    }
}
