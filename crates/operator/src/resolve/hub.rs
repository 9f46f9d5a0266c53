//! What the operator asks the hub, with the credential that the policy lends to the namespace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::hub::environment::Visibility;
use api::hub::error::ErrorCode;
use api::hub::{ClientError, HubClient};
use api::node::{self, CredentialSource, LARGEST_TOKEN};
use env_spec::{EnvironmentName, Reference};
use workload::policy::Verdict;

use super::error::{ResolveError, TokenError};
use super::tokens::Tokens;
use crate::settings::Settings;

/// How long an answer about visibility counts.
const FRESH: Duration = Duration::from_secs(30);
/// How long a hub is connected to, and how long it may say nothing: its longest poll is a minute.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SILENCE_TIMEOUT: Duration = Duration::from_secs(75);

/// The ways to the hub.
#[derive(Debug)]
pub(super) struct Hub {
    http: reqwest::Client,
    tokens: Arc<dyn Tokens>,
    public: Mutex<BTreeMap<(String, EnvironmentName), (Instant, bool)>>,
}

/// A namespace's way to the hub.
pub(super) struct Way {
    pub(super) client: HubClient,
    address: String,
}

impl Hub {
    pub(super) fn new(tokens: Arc<dyn Tokens>) -> Result<Self, reqwest::Error> {
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("nival-operator/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(SILENCE_TIMEOUT)
        };
        let http = builder().build().or_else(|error| {
            tracing::warn!(%error, "no CA certificates here: https:// addresses will not work");
            builder().tls_certs_only([]).build()
        })?;
        Ok(Self {
            http,
            tokens,
            public: Mutex::default(),
        })
    }

    /// Refuses references to other hubs: credentials are sent only where the configuration says.
    pub(super) fn check_is_meant(
        settings: &Settings,
        reference: &Reference,
    ) -> Result<(), ResolveError> {
        let Some(hub) = &reference.hub else {
            return Ok(());
        };
        if node::is_own_hub(&settings.hub, hub) {
            return Ok(());
        }
        Err(ResolveError::OtherHub {
            reference: Box::new(reference.clone()),
            hub: hub.clone(),
            configured: settings.hub.clone(),
        })
    }

    /// Returns a namespace's way to an environment, if the policy lets it have one.
    pub(super) async fn way(
        &self,
        settings: &Settings,
        namespace: &str,
        environment: &EnvironmentName,
    ) -> Result<Way, ResolveError> {
        let refused = || ResolveError::NotVisible {
            environment: environment.clone(),
            namespace: namespace.to_owned(),
        };
        match settings.policy.verdict(namespace, environment) {
            Verdict::Denied => Err(refused()),
            Verdict::Allowed { credential } => {
                let token = match credential {
                    Some(name) => Some(self.token(settings, name).await?),
                    None => None,
                };
                self.client(settings, token)
            }
            Verdict::IfPublic => {
                let way = self.client(settings, None)?;
                // What nobody may see and what does not exist look the same, here and at the hub.
                match self.is_public(&way, environment).await? {
                    true => Ok(way),
                    false => Err(refused()),
                }
            }
        }
    }

    /// Returns a way with no token, for what everybody may read.
    pub(super) fn client(
        &self,
        settings: &Settings,
        token: Option<String>,
    ) -> Result<Way, ResolveError> {
        let address = settings.hub.clone();
        match HubClient::new(&address, token, self.http.clone()) {
            Ok(client) => Ok(Way { client, address }),
            Err(source) => Err(ResolveError::Hub {
                what: "anything".to_owned(),
                source: Box::new(source),
            }),
        }
    }

    async fn is_public(
        &self,
        way: &Way,
        environment: &EnvironmentName,
    ) -> Result<bool, ResolveError> {
        let key = (way.address.clone(), environment.clone());
        let now = Instant::now();
        let fresh = |when: &Instant| now.duration_since(*when) < FRESH;
        {
            let mut known = self.public.lock().unwrap_or_else(PoisonError::into_inner);
            // Tenants choose the names that are asked about: what is no longer fresh makes room.
            known.retain(|_, (when, _)| fresh(when));
            // That it is not visible is asked anew, so that whoever has just published it need not wait.
            if let Some((_, true)) = known.get(&key) {
                return Ok(true);
            }
        }
        let public = match way.client.environment(environment).await {
            Ok(answer) => answer.visibility == Visibility::Public,
            Err(error) if error.is_hidden() => false,
            Err(error) => return Err(way.failed(environment.to_string(), error)),
        };
        let mut known = self.public.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, (now, public));
        Ok(public)
    }

    async fn token(&self, settings: &Settings, name: String) -> Result<String, ResolveError> {
        let token = match settings.credentials.get(&name) {
            Some(CredentialSource::File(file)) => {
                let bytes = host::fs::read_bounded(file, LARGEST_TOKEN);
                bytes.map_err(TokenError::File).and_then(|bytes| {
                    let none = || TokenError::NoToken { path: file.clone() };
                    node::token(&bytes).map(str::to_owned).ok_or_else(none)
                })
            }
            Some(CredentialSource::Secret { namespace, name }) => {
                self.tokens.token(namespace, name).await
            }
            None => Err(TokenError::Absent),
        };
        token.map_err(|source| ResolveError::Credential { name, source })
    }
}

impl Way {
    /// Says that the hub did not give this.
    pub(super) fn failed(&self, what: String, source: ClientError) -> ResolveError {
        match source.code() {
            Some(ErrorCode::NotFound) => ResolveError::Unknown {
                what,
                hub: self.address.clone(),
            },
            _ => ResolveError::Hub {
                what,
                source: Box::new(source),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use axum::Router;
    use axum::http::StatusCode;

    use super::super::testing::{self, NoTokens};
    use super::*;

    #[tokio::test]
    async fn a_proxys_page_is_not_the_hubs_word_on_who_may_see() {
        let environment: EnvironmentName = "demo/app".parse().unwrap();
        let ask = async |status: u16, body: &'static str| {
            let status = StatusCode::from_u16(status).unwrap();
            let router = Router::new().fallback(move || async move { (status, body) });
            let address = testing::serve(router).await;
            let text = format!("hub = \"{address}\"");
            let settings = Settings::decide(Path::new("agent.toml"), &text).unwrap();
            let hub = Hub::new(Arc::new(NoTokens)).unwrap();
            let way = hub.way(&settings, "web", &environment).await;
            way.map(drop)
        };
        for status in [404, 200, 403] {
            let error = ask(status, "<html>default backend</html>").await;
            let error = error.unwrap_err();
            assert!(error.is_transient(), "{error}");
            assert_eq!(error.reason(), "HubDown");
        }
        let no_such = r#"{"code":"not-found","message":"there is none"}"#;
        let error = ask(404, no_such).await.unwrap_err();
        assert!(matches!(error, ResolveError::NotVisible { .. }), "{error}");
    }
}
