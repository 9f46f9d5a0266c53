//! What the user wrote (`ConfigFile`) and what the hub does (`Settings`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::oidc::{OidcSettings, OidcTable, SourceError};

/// Read where no other file is named, if it is there.
pub(crate) const DEFAULT_FILE: &str = "/etc/nival/hub.toml";

/// The configuration file. All of it is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ConfigFile {
    /// Where to listen.
    pub(crate) listen: Option<SocketAddr>,
    /// Where `/metrics` is served; without it, beside everything else. The page has no secrets, but names what is used.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// The folder of all data.
    pub(crate) data: Option<PathBuf>,
    /// The largest NAR file that is taken, in bytes.
    pub(crate) largest_nar: Option<u64>,
    /// The largest NAR that is unpacked, in bytes.
    pub(crate) largest_unpacked: Option<u64>,
    /// Whether records that nobody signed are taken. Nodes refuse them all the same.
    pub(crate) accept_unsigned: Option<bool>,
    /// How many connections are served at the same time; more wait.
    pub(crate) most_connections: Option<usize>,
    /// How many seconds a request's header or body, or its reader, may stall before the hub gives up on it.
    pub(crate) stall_seconds: Option<u64>,
    /// Logs as JSON.
    pub(crate) log_json: Option<bool>,
    /// Who else may issue tokens.
    #[serde(default)]
    pub(crate) oidc: Vec<OidcTable>,
}

/// What the hub does.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Where `/metrics` is served instead of there.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// The folder of all data.
    pub(crate) data: PathBuf,
    /// The largest NAR file that is taken. 20 GB is the largest closure that Nival is made for.
    pub(crate) largest_nar: u64,
    /// The largest NAR that is unpacked: a small file may claim to hold any size.
    pub(crate) largest_unpacked: u64,
    /// Whether records that nobody signed are taken.
    pub(crate) accept_unsigned: bool,
    /// How many connections are served at the same time: each may hold two parts of an upload in memory.
    pub(crate) most_connections: usize,
    /// How long a request's body or header may stall, and how long a client may read nothing of an answer.
    pub(crate) stall_timeout: Duration,
    /// How long open requests may take after SIGTERM.
    pub(crate) drain_timeout: Duration,
    /// Logs as JSON.
    pub(crate) log_json: bool,
    /// Who else may issue tokens.
    pub(crate) oidc: Vec<OidcSettings>,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration")]
    Read(#[source] std::io::Error),
    /// The file is not valid.
    #[error("the configuration {} is not valid", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        #[source]
        source: toml::de::Error,
    },
    /// There is no place for data.
    #[error("cannot tell where to keep data: neither XDG_DATA_HOME nor HOME is set; use --data")]
    NoData,
    /// A table says something that cannot be.
    #[error("the configuration is not valid: {0}")]
    Value(String),
    /// What an issuer's keys are to be read with is not there.
    #[error("the keys of an issuer in [[oidc]] cannot be had")]
    Oidc(#[from] SourceError),
}

impl ConfigFile {
    /// Reads the named file, or the default one if it is there.
    ///
    /// # Errors
    /// Fails when the named file is not there, and when the file is not valid.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match fs_err::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|source| ConfigError::Parse {
                path: path.to_owned(),
                source,
            }),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(ConfigError::Read(error)),
        }
    }

    /// Fills in the defaults. `data_home` is where data of users' programs lies.
    ///
    /// # Errors
    /// Fails when no place for data is known, and for issuers that cannot be.
    pub(crate) fn decide(self, data_home: Option<PathBuf>) -> Result<Settings, ConfigError> {
        let oidc: Result<Vec<_>, String> = self.oidc.into_iter().map(OidcTable::decide).collect();
        let default_data = data_home.map(|folder| folder.join("nival-hub"));
        Ok(Settings {
            listen: self.listen.unwrap_or_else(|| {
                api::hub::DEFAULT_ADDRESS
                    .parse()
                    .expect("the default address is one")
            }),
            metrics_listen: self.metrics_listen,
            data: self.data.or(default_data).ok_or(ConfigError::NoData)?,
            largest_nar: self.largest_nar.unwrap_or(20 << 30),
            largest_unpacked: self.largest_unpacked.unwrap_or(64 << 30),
            accept_unsigned: self.accept_unsigned.unwrap_or(false),
            most_connections: self.most_connections.unwrap_or(512),
            stall_timeout: Duration::from_secs(self.stall_seconds.unwrap_or(60).max(1)),
            drain_timeout: Duration::from_secs(30),
            log_json: self.log_json.unwrap_or(false),
            oidc: oidc.map_err(ConfigError::Value)?,
        })
    }
}

impl Settings {
    /// Returns the database's file.
    #[must_use]
    pub(crate) fn database(&self) -> PathBuf {
        self.data.join("hub.sqlite")
    }

    /// Returns the object store's folder.
    #[must_use]
    pub(crate) fn objects(&self) -> PathBuf {
        self.data.join("objects")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_configured_gives_working_settings() {
        let settings = ConfigFile::default()
            .decide(Some("/home/me/.local/share".into()))
            .unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:7878");
        assert_eq!(settings.data, Path::new("/home/me/.local/share/nival-hub"));
        assert!(!settings.accept_unsigned);
    }

    #[test]
    fn the_documented_example_has_every_key_and_names_the_defaults() {
        let page = include_str!("../../../docs/reference/hub-configuration.md");
        let block = page.split("```toml\n").nth(1).unwrap();
        let example = block.split("```").next().unwrap();
        let file: ConfigFile = toml::from_str(example).unwrap();
        let text = format!("{file:?}");
        // Of an issuer's keys the place is either an address or a file.
        for key in ["jwks_url", "jwks_file", "ca_file", "token_file"] {
            assert!(text.contains(&format!("{key}: Some")), "{key}: {text}");
        }
        let plain = ConfigFile {
            oidc: Vec::new(),
            ..file.clone()
        };
        assert!(!format!("{plain:?}").contains("None"), "{plain:?}");
        let settings = file.decide(None).unwrap();
        let default = ConfigFile::default().decide(Some("/".into())).unwrap();
        assert_eq!(settings.oidc.len(), 2);
        assert_eq!(settings.listen, default.listen);
        assert_eq!(settings.largest_nar, default.largest_nar);
        assert_eq!(settings.largest_unpacked, default.largest_unpacked);
        assert_eq!(settings.most_connections, default.most_connections);
        assert_eq!(settings.stall_timeout, default.stall_timeout);
    }

    #[test]
    fn unknown_keys_are_named() {
        let error = toml::from_str::<ConfigFile>("listne = 1").unwrap_err();
        assert!(error.to_string().contains("listne"), "{error}");
    }
}
