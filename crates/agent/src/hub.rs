//! What the agent asks the hub: records, pointers, and whether everybody may see an environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io};

use api::hub::environment::Visibility;
use api::hub::{ClientError, HubClient};
use api::node::{self, CredentialSource, LARGEST_TOKEN, TOKEN_RULE};
use env_spec::{Digest, EnvironmentName, Reference, Signed};
use serde::{Deserialize, Serialize};
use store::Source;

use crate::error::AgentError;
use crate::notes::{Lasting, Notes};
use crate::settings::{Settings, Substituter};

/// How long an answer about visibility counts: a start must not wait for the hub each time.
const FRESH: Duration = Duration::from_secs(30);
/// How long a hub that may be down is waited for, when there is an older answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The hub, the other caches, and the credentials for them.
#[derive(Debug)]
pub(crate) struct Hub {
    address: String,
    http: reqwest::Client,
    credentials: BTreeMap<String, CredentialSource>,
    handed: Mutex<Handed>,
    substituters: Vec<Substituter>,
    notes: Notes,
    visible: Mutex<Visible>,
}

/// Tokens that the agent's neighbour handed over, by the credential's name. They are on no disk and in no log.
#[derive(Default)]
struct Handed(BTreeMap<String, String>);

impl fmt::Debug for Handed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// Fresh answers on whether everybody may see an environment.
#[derive(Debug, Default)]
struct Visible(BTreeMap<EnvironmentName, (Instant, bool)>);

impl Visible {
    fn get(&self, environment: &EnvironmentName, now: Instant) -> Option<bool> {
        let (when, public) = self.0.get(environment)?;
        (now.duration_since(*when) < FRESH).then_some(*public)
    }

    fn put(&mut self, environment: EnvironmentName, public: bool, now: Instant) {
        // Tenants choose the names that are asked about: what is no longer fresh makes room.
        self.0
            .retain(|_, (when, _)| now.duration_since(*when) < FRESH);
        self.0.insert(environment, (now, public));
    }
}

/// Who may see an environment, as the hub said last. Written to disk: fields may be added, never changed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LastAnswer {
    environment: EnvironmentName,
    public: bool,
}

impl Hub {
    pub(crate) fn new(settings: &Settings, http: reqwest::Client) -> Result<Self, AgentError> {
        let hub = Self {
            address: settings.hub.clone(),
            http,
            credentials: settings.credentials.clone(),
            handed: Mutex::default(),
            substituters: settings.substituters.clone(),
            notes: Notes::open(settings.state.join("visibility"), Lasting::WhileUp)?,
            visible: Mutex::default(),
        };
        // A wrong address is said at the start, not with the first pod.
        hub.client(None)?;
        for one in &hub.substituters {
            hub.source(&one.url, None)?;
        }
        Ok(hub)
    }

    /// Takes the tokens of Secrets in the place of those that it had. What no configuration asks for is left out.
    pub(crate) fn hand_over(
        &self,
        tokens: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), AgentError> {
        let mut handed = Handed::default();
        for (name, token) in tokens {
            if !matches!(
                self.credentials.get(&name),
                Some(CredentialSource::Secret { .. })
            ) {
                let name: String = name.chars().take(100).collect();
                tracing::warn!(
                    name,
                    "handed a token that no credential of this configuration needs"
                );
                continue;
            }
            let Some(token) = node::token(token.as_bytes()) else {
                return Err(AgentError::Request(format!(
                    "the token of credential {name} is none: {TOKEN_RULE}"
                )));
            };
            handed.0.insert(name, token.to_owned());
        }
        tracing::info!(credentials = ?handed, "tokens were handed over");
        *self.handed() = handed;
        Ok(())
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Refuses references to other hubs: the node asks, with its credentials, only where its configuration says.
    pub(crate) fn check_is_meant(&self, reference: &Reference) -> Result<(), AgentError> {
        let Some(hub) = &reference.hub else {
            return Ok(());
        };
        if node::is_own_hub(&self.address, hub) {
            return Ok(());
        }
        Err(AgentError::OtherHub {
            reference: reference.to_string(),
            hub: hub.clone(),
            configured: self.address.clone(),
        })
    }

    /// Tells whether everybody may see an environment. While the hub is down, its last answer counts.
    pub(crate) async fn is_public(
        &self,
        environment: &EnvironmentName,
    ) -> Result<bool, AgentError> {
        if let Some(public) = self.visible().get(environment, Instant::now()) {
            return Ok(public);
        }
        let name = Digest::of(environment.to_string().as_bytes()).hex();
        let last = self
            .notes
            .read::<LastAnswer>(&name)
            .filter(|last| last.environment == *environment);
        let client = self.client(None)?;
        let question = client.environment(environment);
        let answer = match &last {
            Some(_) => tokio::time::timeout(PATIENCE, question).await.ok(),
            None => Some(question.await),
        };
        let public = match (answer, last) {
            (Some(Ok(answer)), last) => {
                let public = answer.visibility == Visibility::Public;
                if last.is_none_or(|last| last.public != public) {
                    self.notes.write(
                        &name,
                        &LastAnswer {
                            environment: environment.clone(),
                            public,
                        },
                    )?;
                }
                public
            }
            // To a stranger the hub says of a private environment that there is none.
            (Some(Err(error)), _) if error.is_hidden() => {
                self.notes.remove(&name)?;
                false
            }
            (_, Some(last)) => {
                tracing::info!(%environment, "the hub does not answer: its last word on who may see the environment counts");
                last.public
            }
            (Some(Err(error)), None) => {
                let (environment, source) = (environment.clone(), Box::new(error));
                return Err(AgentError::NeverAsked {
                    environment,
                    source,
                });
            }
            (None, None) => unreachable!("without an older answer there is no deadline"),
        };
        self.visible()
            .put(environment.clone(), public, Instant::now());
        Ok(public)
    }

    pub(crate) async fn live(
        &self,
        environment: &EnvironmentName,
        credential: Option<&str>,
    ) -> Result<Signed, AgentError> {
        let answer = self.client(credential)?.live(environment).await;
        answer.map_err(|error| self.failed(format!("the live generation of {environment}"), error))
    }

    pub(crate) async fn generation(
        &self,
        reference: &Reference,
        credential: Option<&str>,
    ) -> Result<Signed, AgentError> {
        let answer = self.client(credential)?.generation(reference).await;
        answer.map_err(|error| self.failed(format!("generation {reference}"), error))
    }

    /// Returns an owner's list of revoked generations, unverified, where there is one. Everybody may read it.
    pub(crate) async fn revocations(&self, owner: &str) -> Result<Option<Signed>, AgentError> {
        match self.client(None)?.revocations(owner).await {
            Ok(list) => Ok(Some(list)),
            Err(error) if error.code() == Some(api::hub::error::ErrorCode::NotFound) => Ok(None),
            Err(error) => Err(self.failed(format!("the revocation list of {owner}"), error)),
        }
    }

    /// Returns the binary caches for an owner's environments, in the order in which to ask them.
    pub(crate) fn sources(
        &self,
        owner: &str,
        credential: Option<&str>,
    ) -> Result<Vec<Source>, AgentError> {
        let own = self.client(credential)?.cache_url(owner);
        let own = self.source(own.as_str(), self.token(credential)?)?;
        let (before, after): (Vec<_>, Vec<_>) =
            self.substituters.iter().partition(|one| one.before_hub);
        let mut sources = self.further(&before)?;
        sources.push(own);
        sources.extend(self.further(&after)?);
        Ok(sources)
    }

    /// Returns caches beside the hub's. One whose token is not there is left out: the others may have all that is needed.
    fn further(&self, substituters: &[&Substituter]) -> Result<Vec<Source>, AgentError> {
        let mut sources = Vec::new();
        for one in substituters {
            match self.token(one.credential.as_deref()) {
                Ok(token) => sources.push(self.source(&one.url, token)?),
                Err(error) => {
                    let cache = self.source(&one.url, None)?;
                    tracing::warn!(cache = cache.name(), error = error.line(), "it is left out");
                }
            }
        }
        Ok(sources)
    }

    fn source(&self, address: &str, token: Option<String>) -> Result<Source, AgentError> {
        Source::new(address, token, &self.http)
            .map_err(|error| AgentError::Request(error.to_string()))
    }

    fn handed(&self) -> MutexGuard<'_, Handed> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visible(&self) -> MutexGuard<'_, Visible> {
        self.visible.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self, credential: Option<&str>) -> Result<HubClient, AgentError> {
        let client = HubClient::new(&self.address, self.token(credential)?, self.http.clone());
        client.map_err(|error| AgentError::Request(error.to_string()))
    }

    /// Tokens are read when they are needed: they are renewed in place.
    fn token(&self, credential: Option<&str>) -> Result<Option<String>, AgentError> {
        let Some(name) = credential else {
            return Ok(None);
        };
        let token = match self.credentials.get(name) {
            Some(CredentialSource::File(file)) => read_token(file),
            Some(CredentialSource::Secret {
                namespace,
                name: secret,
            }) => {
                let token = self.handed().0.get(name).cloned();
                return token.map(Some).ok_or_else(|| AgentError::NoCredential {
                    name: name.to_owned(),
                    secret: format!("{namespace}/{secret}"),
                });
            }
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "it is not configured",
            )),
        };
        token.map(Some).map_err(|source| AgentError::Credential {
            name: name.to_owned(),
            source,
        })
    }

    fn failed(&self, what: String, source: ClientError) -> AgentError {
        match source.code() {
            Some(api::hub::error::ErrorCode::NotFound) => AgentError::Unknown {
                what,
                hub: self.address.clone(),
            },
            _ => AgentError::Hub {
                what,
                source: Box::new(source),
            },
        }
    }
}

fn read_token(file: &Path) -> io::Result<String> {
    let bytes = host::fs::read_bounded(file, LARGEST_TOKEN)?;
    let none = || {
        let text = format!("{} holds no token: {TOKEN_RULE}", file.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    node::token(&bytes).map(str::to_owned).ok_or_else(none)
}

#[cfg(test)]
#[path = "hub/tests.rs"]
mod tests;
