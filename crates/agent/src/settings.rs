//! The configuration: as written in `/etc/nival/agent.toml`, and as decided with the command line.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::node::{ConfigFile, CredentialSource, DEFAULT_FILE, LARGEST_FILE, SubstituterTable};
use env_spec::{Pin, TrustedKeys};
use host::followed::Followed;
use workload::policy::Policy;

use crate::args::{Global, Serve};

const DEFAULT_STATE: &str = "/var/lib/nival";

/// What was decided.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The file that a person would edit.
    pub(crate) file: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) hub: String,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) keep_generations: usize,
    pub(crate) keep: Vec<Pin>,
    /// Collecting begins when the disk is so full, in percent, and ends when it is so full again.
    pub(crate) watermarks: Watermarks,
    /// How often the agent looks at the disk and at lost leases.
    pub(crate) housekeeping: Duration,
    pub(crate) substituters: Vec<Substituter>,
    pub(crate) trusted: TrustedKeys,
    pub(crate) policy: Policy,
    /// Where tokens are, by the credential's name.
    pub(crate) credentials: BTreeMap<String, CredentialSource>,
    pub(crate) revocations: RevocationSettings,
}

/// How lists of revoked generations are kept up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RevocationSettings {
    /// How often the hub is asked.
    pub(crate) every: Duration,
    /// How old a list may be before nothing of its owner starts.
    pub(crate) max_age: Option<Duration>,
}

/// How full the disk may be, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watermarks {
    pub(crate) high: u8,
    pub(crate) low: u8,
}

/// A binary cache beside the hub's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Substituter {
    pub(crate) url: String,
    pub(crate) before_hub: bool,
    pub(crate) credential: Option<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read the configuration {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the configuration {} is not valid: {reason}", path.display())]
    Parse { path: PathBuf, reason: String },
    #[error("the configuration {} is not valid: {reason}", path.display())]
    Value { path: PathBuf, reason: String },
}

impl Settings {
    /// Reads the file and decides.
    pub(crate) fn load(
        global: &Global,
        serve: Option<&Serve>,
    ) -> Result<(Self, Followed), SettingsError> {
        let path = global.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let file = match Followed::open(path, LARGEST_FILE) {
            // Only the file that nobody named may be absent.
            Err(error) if error.kind() == io::ErrorKind::NotFound && global.config.is_none() => {
                Followed::absent(path, LARGEST_FILE)
            }
            other => other.map_err(|source| SettingsError::Read {
                path: path.to_owned(),
                source,
            })?,
        };
        Ok((Self::of(&file, global, serve)?, file))
    }

    /// Decides by what the file holds now.
    pub(crate) fn of(
        file: &Followed,
        global: &Global,
        serve: Option<&Serve>,
    ) -> Result<Self, SettingsError> {
        let path = file.path().to_owned();
        let written =
            toml::from_str(file.text()).map_err(|error: toml::de::Error| SettingsError::Parse {
                path: path.clone(),
                reason: error.to_string().trim().to_owned(),
            })?;
        Self::decide(path.clone(), written, global, serve)
            .map_err(|reason| SettingsError::Value { path, reason })
    }

    fn decide(
        path: PathBuf,
        file: ConfigFile,
        global: &Global,
        serve: Option<&Serve>,
    ) -> Result<Self, String> {
        let credentials = file.credentials()?;
        let policy = file.policy()?;
        let trusted = file.trusted()?;
        let hub = serve.and_then(|serve| serve.hub.clone()).or(file.hub);
        let hub = hub.unwrap_or_else(|| format!("http://{}", api::hub::DEFAULT_ADDRESS));
        let mut substituters = Vec::new();
        for table in file.substituters {
            let SubstituterTable {
                url,
                before_hub,
                credential,
            } = table;
            substituters.push(Substituter {
                url,
                before_hub,
                credential,
            });
        }
        let every = file.collect.every_seconds.unwrap_or(30);
        let watermarks = Watermarks {
            high: file.collect.high.unwrap_or(85),
            low: file.collect.low.unwrap_or(80),
        };
        if watermarks.low > watermarks.high || watermarks.high > 100 {
            return Err(format!(
                "collect: low ({}) must be below high ({})",
                watermarks.low, watermarks.high
            ));
        }
        let every_list = file.revocations.every_seconds.unwrap_or(60).max(1);
        let max_age = file.revocations.max_age_seconds;
        if let Some(most) = max_age.filter(|most| *most / 2 < every_list) {
            return Err(format!(
                "revocations: max_age_seconds ({most}) must be at least twice every_seconds ({every_list})"
            ));
        }
        let default_socket = || PathBuf::from(api::agent::DEFAULT_SOCKET);
        Ok(Self {
            file: path,
            state: global
                .state
                .clone()
                .or(file.state)
                .unwrap_or_else(|| DEFAULT_STATE.into()),
            socket: global
                .socket
                .clone()
                .or(file.socket)
                .unwrap_or_else(default_socket),
            hub,
            metrics: serve.and_then(|serve| serve.metrics).or(file.metrics),
            keep_generations: file.keep_generations.unwrap_or(3),
            keep: file.keep,
            watermarks,
            housekeeping: Duration::from_secs(every.max(1)),
            substituters,
            trusted,
            policy,
            credentials,
            revocations: RevocationSettings {
                every: Duration::from_secs(every_list),
                max_age: max_age.map(Duration::from_secs),
            },
        })
    }
}

/// Returns the socket alone, for commands that only ask the agent: they need no valid configuration.
pub(crate) fn socket(global: &Global) -> PathBuf {
    if let Some(socket) = &global.socket {
        return socket.clone();
    }
    let path = global.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
    let text = host::fs::read_bounded(path, LARGEST_FILE).unwrap_or_default();
    let file: Option<ConfigFile> = toml::from_str(&String::from_utf8_lossy(&text)).ok();
    file.and_then(|file| file.socket)
        .unwrap_or_else(|| api::agent::DEFAULT_SOCKET.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(text: &str) -> Result<Settings, String> {
        let file: ConfigFile = toml::from_str(text).map_err(|error| error.to_string())?;
        let global = Global {
            config: None,
            state: None,
            socket: None,
        };
        Settings::decide(DEFAULT_FILE.into(), file, &global, None)
    }

    #[test]
    fn nothing_written_means_the_documented_defaults() {
        let settings = decide("").unwrap();
        assert_eq!(settings.state, Path::new("/var/lib/nival"));
        assert_eq!(settings.socket, Path::new("/run/nival/agent.sock"));
        assert_eq!(settings.hub, "http://127.0.0.1:7878");
        assert_eq!(settings.keep_generations, 3);
        assert_eq!(settings.watermarks, Watermarks { high: 85, low: 80 });
        assert_eq!(
            settings.policy.default,
            workload::policy::DefaultPolicy::AllowPublic
        );
    }

    #[test]
    fn every_table_is_read() {
        let settings = decide(
            r#"
            hub = "https://hub.example.com"
            keep_generations = 5
            keep = ["acme/api:12@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]
            [collect]
            high = 90
            [[substituters]]
            url = "file:///mnt/cache"
            before_hub = true
            [trust]
            acme = ["acme-1:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]
            [policy]
            default = "deny"
            [[allow]]
            namespaces = ["team-*"]
            environments = ["acme/*"]
            credential = "acme"
            [credentials.acme]
            token_file = "/etc/nival/acme.token"
            "#,
        )
        .unwrap();
        assert_eq!(settings.keep.len(), 1);
        assert_eq!(settings.watermarks, Watermarks { high: 90, low: 80 });
        assert!(settings.substituters[0].before_hub);
        assert_eq!(settings.trusted.for_owner("acme").len(), 1);
        assert_eq!(settings.policy.rules[0].credential.as_deref(), Some("acme"));
    }

    #[test]
    fn the_documented_example_is_valid_and_names_the_defaults() {
        let page = include_str!("../../../docs/reference/agent-configuration.md");
        let example = page
            .split("```toml\n")
            .nth(1)
            .unwrap()
            .split("```")
            .next()
            .unwrap();
        let (documented, default) = (decide(example).unwrap(), decide("").unwrap());
        assert_eq!(documented.state, default.state);
        assert_eq!(documented.socket, default.socket);
        assert_eq!(documented.hub, default.hub);
        assert_eq!(documented.keep_generations, default.keep_generations);
        assert_eq!(documented.watermarks, default.watermarks);
        assert_eq!(documented.housekeeping, default.housekeeping);
        assert_eq!(documented.policy.default, default.policy.default);
        assert_eq!(documented.revocations.every, default.revocations.every);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("hubb = 1", "hubb"),
            ("[trust]\nacme = [\"acme-1:AAAA\"]", "acme"),
            ("[trust]\n\"a/b\" = []", "not an owner"),
            (
                "[[allow]]\nnamespaces = []\nenvironments = [\"*\"]",
                "no namespaces",
            ),
            (
                "[[allow]]\nnamespaces = [\"*\"]\nenvironments = [\"*\"]\ncredential = \"none\"",
                "[credentials.none]",
            ),
            ("[collect]\nhigh = 50", "must be below"),
            (
                "[revocations]\nevery_seconds = 60\nmax_age_seconds = 119",
                "at least twice every_seconds (60)",
            ),
            (
                "[credentials.a]\nsecret = \"a/b\"\ntoken_file = \"/c\"",
                "either token_file or secret",
            ),
            ("keep = [\"acme/api\"]", "not a pin"),
        ] {
            let error = decide(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
