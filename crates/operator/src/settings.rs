//! The nodes' configuration file as the operator reads it: decided, and decided anew whenever the file changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use api::node::{ConfigFile, CredentialSource, LARGEST_FILE};
use env_spec::TrustedKeys;
use host::followed::Followed;
use tokio_util::sync::CancellationToken;
use workload::policy::Policy;

/// How often the hub is asked for an owner's list of revoked generations, unless the file says otherwise.
const REVOCATIONS_EVERY: Duration = Duration::from_secs(60);

/// What was decided.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) hub: String,
    pub(crate) trusted: TrustedKeys,
    pub(crate) policy: Policy,
    /// Where tokens are, by the credential's name.
    pub(crate) credentials: BTreeMap<String, CredentialSource>,
    /// How long a list of revoked generations counts as fresh.
    pub(crate) revocations_every: Duration,
    /// How old a list may be before nothing of its owner is let in.
    pub(crate) revocations_max_age: Option<Duration>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read the configuration {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the configuration {} is not valid: {reason}", path.display())]
    Value { path: PathBuf, reason: String },
}

impl Settings {
    /// Decides what a file's text means.
    pub(crate) fn decide(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let wrong = |reason: String| SettingsError::Value {
            path: path.to_owned(),
            reason,
        };
        let file: ConfigFile = toml::from_str(text)
            .map_err(|error: toml::de::Error| wrong(error.to_string().trim().to_owned()))?;
        let every = file.revocations.every_seconds.map(Duration::from_secs);
        Ok(Self {
            trusted: file.trusted().map_err(wrong)?,
            policy: file.policy().map_err(wrong)?,
            credentials: file.credentials().map_err(wrong)?,
            hub: file
                .hub
                .unwrap_or_else(|| format!("http://{}", api::hub::DEFAULT_ADDRESS)),
            revocations_every: every.unwrap_or(REVOCATIONS_EVERY),
            revocations_max_age: file.revocations.max_age_seconds.map(Duration::from_secs),
        })
    }
}

/// The settings as they are now.
#[derive(Debug, Clone)]
pub(crate) struct Config(Arc<RwLock<Arc<Settings>>>);

impl Config {
    /// Reads the file for the first time; without a valid one nothing starts.
    pub(crate) fn load(path: &Path) -> Result<(Self, Followed), SettingsError> {
        let file = Followed::open(path, LARGEST_FILE).map_err(|source| SettingsError::Read {
            path: path.to_owned(),
            source,
        })?;
        let settings = Settings::decide(path, file.text())?;
        Ok((Self(Arc::new(RwLock::new(Arc::new(settings)))), file))
    }

    /// Returns the settings; whoever holds them while they change goes on with the old ones.
    pub(crate) fn now(&self) -> Arc<Settings> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the file until told to stop. One that is not valid changes nothing and is complained about once.
    pub(crate) async fn follow(self, mut file: Followed, stop: CancellationToken) {
        while stop.run_until_cancelled(file.changed()).await.is_some() {
            self.change(file.path(), file.text());
        }
    }

    fn change(&self, path: &Path, text: &str) {
        match Settings::decide(path, text) {
            Ok(settings) => {
                *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
                tracing::info!(file = %path.display(), "the configuration changed");
            }
            Err(error) => tracing::error!("{error}; the one before stays in force"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_written_means_the_documented_defaults() {
        let settings = Settings::decide(Path::new("agent.toml"), "").unwrap();
        assert_eq!(settings.hub, "http://127.0.0.1:7878");
        assert_eq!(settings.revocations_every, Duration::from_secs(60));
        assert_eq!(settings.revocations_max_age, None);
    }

    #[test]
    fn a_change_counts_for_every_holder_and_a_mistake_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        fs_err::write(&path, "hub = \"http://one\"").unwrap();
        let (config, _) = Config::load(&path).unwrap();
        let other = config.clone();
        let held = config.now();
        config.change(&path, "hub = \"http://two\"");
        assert_eq!(
            (held.hub.as_str(), other.now().hub.as_str()),
            ("http://one", "http://two")
        );
        config.change(&path, "hubb = 3");
        assert_eq!(other.now().hub, "http://two");
        fs_err::write(&path, "hubb = 3").unwrap();
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.contains("agent.toml") && error.contains("hubb"));
    }
}
