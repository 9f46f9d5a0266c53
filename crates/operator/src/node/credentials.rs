//! Tokens that the agent's configuration keeps in Secrets: watched, and handed to the agent's socket.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use api::node::{ConfigFile, CredentialSource, LARGEST_FILE, TOKEN_KEY, TOKEN_RULE};
use futures::StreamExt as _;
use host::error::one_line;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::agent::{Agent, AgentError};
use crate::again;
use crate::resolve::token_of;

/// How often in a row the API server refuses before that is its word: one that has just begun may not know the roles yet.
const REFUSALS: u32 = 5;

/// Which Secret a credential's token is in: namespace and name, by the credential's name.
type Places = BTreeMap<String, (String, String)>;
type Tokens = BTreeMap<String, String>;
/// What was heard of each credential's Secret: its token, or that there is none. Of what is not here nothing was heard yet.
type Heard = BTreeMap<String, Option<String>>;

/// What is known of the tokens.
pub(super) struct Credentials {
    client: Client,
    places: Places,
    heard: Arc<watch::Sender<Heard>>,
    watches: JoinSet<()>,
    /// The agent that has them, and which they were.
    handed: Option<(String, Tokens)>,
}

impl Credentials {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            places: Places::new(),
            heard: Arc::new(watch::Sender::new(Heard::new())),
            watches: JoinSet::new(),
            handed: None,
        }
    }

    /// Watches the Secrets that the configuration names now.
    pub(super) fn configure(&mut self, file: &Path) {
        let places = match places(file) {
            Ok(places) => places,
            Err(reason) => {
                tracing::warn!(reason, "the configuration is not taken over");
                return;
            }
        };
        if places == self.places {
            return;
        }
        self.watches.abort_all();
        self.watches = JoinSet::new();
        // What was heard of another Secret says nothing of this one.
        self.heard
            .send_modify(|heard| heard.retain(|name, _| places.get(name) == self.places.get(name)));
        for (credential, (namespace, name)) in &places {
            let api = Api::namespaced(self.client.clone(), namespace);
            let place = (namespace.clone(), name.clone());
            let watched = watch(api, place, credential.clone(), Arc::clone(&self.heard));
            self.watches.spawn(watched);
        }
        self.places = places;
    }

    /// Returns the tokens, once something was heard of each: the agent forgets what it is not handed, and keeps what it
    /// has while the API server is away.
    fn tokens(&self) -> Option<Tokens> {
        let heard = self.heard.borrow();
        let mut tokens = Tokens::new();
        for name in self.places.keys() {
            if let Some(token) = heard.get(name)? {
                tokens.insert(name.clone(), token.clone());
            }
        }
        Some(tokens)
    }

    /// Hands the tokens to an agent that does not have them as they are now.
    pub(super) async fn hand_over(&mut self, agent: &Agent, instance: &str) {
        if self.places.is_empty() && self.handed.is_none() {
            return;
        }
        let Some(tokens) = self.tokens() else {
            return;
        };
        let handed = self.handed.as_ref();
        if handed.is_some_and(|(agent, had)| agent == instance && *had == tokens) {
            return;
        }
        match agent.hand_over(&tokens).await {
            Ok(()) => tracing::info!(credentials = tokens.len(), "handed to the agent"),
            // Its next start has another instance, and is asked again.
            Err(error @ AgentError::Unknown(_)) => tracing::warn!("{error}"),
            Err(error) => {
                tracing::warn!(error = %one_line(&error), "the agent did not take the credentials");
                return;
            }
        }
        self.handed = Some((instance.to_owned(), tokens));
    }
}

/// Reads from the node's configuration where tokens are.
fn places(file: &Path) -> Result<Places, String> {
    let bytes = match host::fs::read_bounded(file, LARGEST_FILE) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Places::new()),
        other => other.map_err(|error| one_line(&error))?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let config: ConfigFile = toml::from_str(&text)
        .map_err(|error| format!("{}: {}", file.display(), one_line(&error)))?;
    let sources = config.credentials()?.into_iter();
    let secrets = sources.filter_map(|(credential, source)| match source {
        CredentialSource::Secret { namespace, name } => Some((credential, (namespace, name))),
        CredentialSource::File(_) => None,
    });
    Ok(secrets.collect())
}

/// Keeps one token up to date. While the API server is away, the last one counts.
async fn watch(
    api: Api<Secret>,
    (namespace, name): (String, String),
    credential: String,
    heard: Arc<watch::Sender<Heard>>,
) {
    let place = format!("{namespace}/{name}");
    let mut refusals: u32 = 0;
    let mut secrets = std::pin::pin!(watch_object(api, &name).backoff(again::pauses()));
    while let Some(seen) = secrets.next().await {
        let token = match seen {
            Ok(secret) => secret.and_then(|secret| token(&secret, &credential, &place)),
            Err(error) => {
                tracing::warn!(credential, error = %one_line(&error), "cannot watch its Secret");
                refusals = if is_refused(&error) {
                    refusals.saturating_add(1)
                } else {
                    0
                };
                if refusals >= REFUSALS {
                    heard.send_modify(|heard| {
                        heard.entry(credential.clone()).or_default();
                    });
                }
                continue;
            }
        };
        refusals = 0;
        heard.send_if_modified(|heard| {
            heard.insert(credential.clone(), token.clone()) != Some(token)
        });
    }
}

/// Tells whether the API server said that this Secret is not for the neighbour: the others' tokens must not wait for that.
fn is_refused(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    let (InitialListFailed(cause) | WatchStartFailed(cause)) = error else {
        return false;
    };
    matches!(cause, kube::Error::Api(status) if status.is_forbidden())
}

/// Returns the token of a Secret, as agents take it: they refuse all of what they are handed for one that is none.
fn token(secret: &Secret, credential: &str, place: &str) -> Option<String> {
    let token = token_of(secret);
    if token.is_none() {
        tracing::warn!(
            credential,
            "the Secret {place} has no token under the key {TOKEN_KEY}: {TOKEN_RULE}; what needs it waits"
        );
    }
    token.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use api::agent::{self as wire, create_agent};
    use fs_err as fs;
    use k8s_openapi::ByteString;
    use ttrpc::r#async::{Server, TtrpcContext};

    use super::*;

    #[test]
    fn only_secrets_are_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        assert_eq!(places(&file), Ok(Places::new()));
        let text = "[credentials.a]\nsecret = \"team/hub\"\n[credentials.b]\ntoken_file = \"/b\"\n";
        fs::write(&file, text).unwrap();
        let expected = ("a".to_owned(), ("team".to_owned(), "hub".to_owned()));
        assert_eq!(places(&file), Ok(Places::from([expected])));
        fs::write(&file, "credentials = 3\n").unwrap();
        assert!(places(&file).unwrap_err().contains("agent.toml"));
    }

    #[test]
    fn a_token_is_the_text_of_its_key() {
        let secret = |bytes: &[u8]| Secret {
            data: Some([(TOKEN_KEY.to_owned(), ByteString(bytes.to_vec()))].into()),
            ..Secret::default()
        };
        let token = |secret: &Secret| token(secret, "a", "team/hub");
        assert_eq!(token(&secret(b"abc\n")), Some("abc".to_owned()));
        // What the agent would refuse is left out, or it would take none of the others either.
        for wrong in [
            b"\xff".as_slice(),
            b"two words",
            "ü".as_bytes(),
            &[b'a'; 17 << 10],
        ] {
            assert_eq!(token(&secret(wrong)), None);
        }
        assert_eq!(token(&Secret::default()), None);
    }

    /// Keeps what it was handed; or knows nothing of tokens, as agents once did.
    struct Recorder(Option<Arc<Mutex<Vec<usize>>>>);

    #[async_trait::async_trait]
    impl wire::Agent for Recorder {
        async fn credentials(
            &self,
            _: &TtrpcContext,
            asked: wire::CredentialsRequest,
        ) -> ttrpc::Result<wire::CredentialsResponse> {
            let Some(handed) = &self.0 else {
                let text = "/nival.agent.v1.Agent/credentials is not supported".to_owned();
                return Err(ttrpc::Error::RpcStatus(ttrpc::get_status(
                    ttrpc::Code::NOT_FOUND,
                    text,
                )));
            };
            handed.lock().unwrap().push(asked.credentials.len());
            Ok(wire::CredentialsResponse::default())
        }
    }

    /// Returns a server on a socket, and credentials that hold a token.
    async fn scene(recorder: Recorder) -> (tempfile::TempDir, Server, Agent, Credentials) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let mut server = Server::new()
            .bind(&format!("unix://{}", socket.display()))
            .unwrap()
            .register_service(create_agent(Arc::new(recorder)));
        server.start().await.unwrap();
        host::tls::install();
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let mut credentials = Credentials::new(Client::try_from(nowhere).unwrap());
        let place = ("team".to_owned(), "hub".to_owned());
        credentials.places = Places::from([("a".to_owned(), place)]);
        credentials.set("first");
        (folder, server, Agent::new(&socket), credentials)
    }

    impl Credentials {
        fn set(&self, token: &str) {
            let heard = Heard::from([("a".to_owned(), Some(token.to_owned()))]);
            self.heard.send_replace(heard);
        }
    }

    #[tokio::test]
    async fn tokens_are_handed_to_each_agent_once_and_again_when_they_change() {
        let handed = Arc::new(Mutex::new(Vec::new()));
        let recorder = Recorder(Some(Arc::clone(&handed)));
        let (_folder, mut server, agent, mut credentials) = scene(recorder).await;
        let count = || handed.lock().unwrap().len();
        credentials.hand_over(&agent, "one").await;
        credentials.hand_over(&agent, "one").await;
        assert_eq!(count(), 1);
        credentials.hand_over(&agent, "two").await;
        assert_eq!(count(), 2, "another agent has none");
        credentials.set("second");
        credentials.hand_over(&agent, "two").await;
        assert_eq!(*handed.lock().unwrap(), [1, 1, 1]);
        // Where the configuration names none any more, the agent forgets them.
        credentials.places.clear();
        credentials.heard.send_replace(Heard::new());
        credentials.hand_over(&agent, "two").await;
        credentials.hand_over(&agent, "two").await;
        assert_eq!(*handed.lock().unwrap(), [1, 1, 1, 0]);
        server.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn an_agent_that_knows_no_tokens_is_asked_once() {
        let (_folder, mut server, agent, mut credentials) = scene(Recorder(None)).await;
        credentials.hand_over(&agent, "old").await;
        assert!(credentials.handed.is_some());
        server.shutdown().await.unwrap();
        // One that is away is asked again.
        credentials.hand_over(&agent, "new").await;
        assert_eq!(credentials.handed.unwrap().0, "old");
    }

    #[tokio::test]
    async fn nothing_is_handed_over_before_something_was_heard_of_every_secret() {
        let handed = Arc::new(Mutex::new(Vec::new()));
        let recorder = Recorder(Some(Arc::clone(&handed)));
        let (folder, mut server, agent, mut credentials) = scene(recorder).await;
        // A neighbour that has just been started, while the API server is away: the agent has its tokens already.
        let file = folder.path().join("agent.toml");
        let text = |a: &str| {
            format!("[credentials.a]\nsecret = \"{a}\"\n[credentials.b]\nsecret = \"team/other\"\n")
        };
        fs::write(&file, text("team/hub")).unwrap();
        credentials.heard.send_replace(Heard::new());
        credentials.configure(&file);
        credentials.hand_over(&agent, "one").await;
        credentials.set("first");
        credentials.hand_over(&agent, "one").await;
        assert!(handed.lock().unwrap().is_empty());
        credentials.heard.send_modify(|heard| {
            heard.insert("b".to_owned(), None);
        });
        credentials.hand_over(&agent, "one").await;
        assert_eq!(*handed.lock().unwrap(), [1], "there is none in the other");
        // Of another Secret under the same name nothing was heard.
        fs::write(&file, text("team/third")).unwrap();
        credentials.configure(&file);
        credentials.hand_over(&agent, "two").await;
        assert_eq!(*handed.lock().unwrap(), [1]);
        server.shutdown().await.unwrap();
    }

    #[test]
    fn only_a_refusal_counts_as_a_word_of_the_api_server() {
        let failed = |code, reason| {
            let status = kube::core::Status::failure("no", reason).with_code(code);
            watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
        };
        assert!(is_refused(&failed(403, "Forbidden")));
        assert!(
            !is_refused(&failed(503, "ServiceUnavailable"))
                && !is_refused(&watcher::Error::NoResourceVersion)
        );
    }
}
