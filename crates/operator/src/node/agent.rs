//! What is asked of the node's agent, over its socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::agent as wire;
use ttrpc::r#async::Client;
use ttrpc::context;

/// An agent that is well answers at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// A fetch may take long, and goes on in the agent if nobody waits for it.
const FETCH_PATIENCE: Duration = Duration::from_secs(3600);

/// Why the agent did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgentError {
    #[error("nival-agent does not answer on {}", socket.display())]
    Away {
        socket: PathBuf,
        #[source]
        source: ttrpc::Error,
    },
    #[error("{0}")]
    Refused(String),
    #[error("this nival-agent is older than its neighbour and does not know {0}")]
    Unknown(&'static str),
}

/// What an agent says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) version: String,
    /// Another one after each start.
    pub(super) instance: String,
    /// The generations that it holds whole.
    pub(super) generations: Vec<String>,
    /// The fetches that are under way: bytes done and in all.
    pub(super) fetches: BTreeMap<String, (u64, u64)>,
    pub(super) store_bytes: u64,
}

/// The agent behind a socket. Each question has a connection of its own, so that a restart between two is not noticed.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    socket: PathBuf,
}

impl Agent {
    pub(super) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    async fn connect(&self) -> Result<wire::AgentClient, AgentError> {
        let client = Client::connect(&format!("unix://{}", self.socket.display())).await;
        client
            .map(wire::AgentClient::new)
            .map_err(|source| self.away(source))
    }

    fn away(&self, source: ttrpc::Error) -> AgentError {
        let socket = self.socket.clone();
        AgentError::Away { socket, source }
    }

    fn failed(&self, error: ttrpc::Error, method: &'static str) -> AgentError {
        match error {
            ttrpc::Error::RpcStatus(status) if is_unknown(&status) => AgentError::Unknown(method),
            ttrpc::Error::RpcStatus(status) => AgentError::Refused(status.message),
            other => self.away(other),
        }
    }

    /// Returns what it says of itself.
    pub(super) async fn status(&self) -> Result<Told, AgentError> {
        let client = self.connect().await?;
        let patience = context::with_duration(PATIENCE);
        let status = client
            .status(patience, &wire::StatusRequest::default())
            .await
            .map_err(|error| self.failed(error, "Status"))?;
        let mut generations: Vec<String> = status
            .closures
            .into_iter()
            .map(|closure| closure.pin)
            .collect();
        generations.sort_unstable();
        generations.dedup();
        let fetches = status.fetches.into_iter();
        Ok(Told {
            version: status.version,
            instance: status.instance,
            generations,
            fetches: fetches
                .map(|fetch| (fetch.pin, (fetch.bytes_done, fetch.bytes_total)))
                .collect(),
            store_bytes: status.store_bytes,
        })
    }

    /// Waits until it holds a generation.
    pub(super) async fn prefetch(&self, generation: &str, system: &str) -> Result<(), AgentError> {
        let client = self.connect().await?;
        let request = wire::PrefetchRequest {
            reference: generation.to_owned(),
            system: system.to_owned(),
            ..Default::default()
        };
        client
            .prefetch(context::with_duration(FETCH_PATIENCE), &request)
            .await
            .map(drop)
            .map_err(|error| self.failed(error, "Prefetch"))
    }

    /// Hands tokens over, in place of all that were handed before.
    pub(super) async fn hand_over(
        &self,
        tokens: &BTreeMap<String, String>,
    ) -> Result<(), AgentError> {
        let client = self.connect().await?;
        let credentials = tokens.iter().map(|(name, token)| wire::Credential {
            name: name.clone(),
            token: token.clone(),
            ..Default::default()
        });
        let request = wire::CredentialsRequest {
            credentials: credentials.collect(),
            ..Default::default()
        };
        client
            .credentials(context::with_duration(PATIENCE), &request)
            .await
            .map(drop)
            .map_err(|error| self.failed(error, "Credentials"))
    }
}

/// An agent without the method says so in one of two ways: its protocol does not have it, or only that does.
fn is_unknown(status: &ttrpc::Status) -> bool {
    status.code() == ttrpc::Code::UNIMPLEMENTED
        || status.code() == ttrpc::Code::NOT_FOUND && status.message.ends_with("is not supported")
}
