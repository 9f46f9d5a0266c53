//! What the user configured (`ConfigFile`), and what it comes to (`Settings`).
//!
//! Precedence: flag, `NIVAL_*` variable, the user's file, the system's file, default.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use env_spec::TrustedKeys;
use nix_data::PublicKey;
use serde::{Deserialize, Serialize};
use toml_edit::DocumentMut;

use crate::args::GlobalArgs;
use crate::env_vars::{self, Variables};
use crate::error::{Doing as _, Outcome};

/// Larger configuration files are refused.
const LARGEST_CONFIG: u64 = 1 << 20;

/// A configuration file as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigFile {
    /// The hub's address.
    hub: Option<String>,
    /// The token to ask the hub with.
    token: Option<String>,
    /// A file with that token.
    token_file: Option<PathBuf>,
    /// The `nix` program.
    nix: Option<String>,
    /// Binary caches to take packages from, besides what Nix itself is configured with.
    substituters: Option<Vec<String>>,
    /// Keys whose signatures count on what those caches have.
    trusted_public_keys: Option<Vec<String>>,
    /// The name of the key that signs what is pushed.
    signing_key: Option<String>,
    /// Who a generation says made it.
    author: Option<String>,
    /// Where packages come from.
    catalog: Option<Catalog>,
    /// By owner: keys that may sign its generations.
    #[serde(default)]
    trust: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalog {
    revisions: Option<Vec<Revision>>,
}

/// A revision of the package set, laid out like nixpkgs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revision {
    /// Its name, which locks carry.
    pub(crate) name: String,
    /// A folder whose `default.nix` takes `{ system }`, or `<nixpkgs>`.
    pub(crate) path: String,
}

/// The decided settings, with where each came from.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The hub's address.
    pub(crate) hub: Setting<String>,
    /// The token to ask it with.
    pub(crate) token: Option<Setting<String>>,
    /// The `nix` program.
    pub(crate) nix: Setting<String>,
    /// Binary caches besides Nix's own.
    pub(crate) substituters: Setting<Vec<String>>,
    /// Keys that count on what those have.
    pub(crate) trusted_public_keys: Setting<Vec<String>>,
    /// The key that signs.
    pub(crate) signing_key: Option<Setting<KeyChoice>>,
    /// Who a generation says made it.
    pub(crate) author: Option<Setting<String>>,
    /// Package set revisions, newest first.
    pub(crate) revisions: Setting<Vec<Revision>>,
    /// Keys trusted per owner.
    pub(crate) trust: TrustedKeys,
    /// The user's configuration file, whether it is there or not.
    pub(crate) user_config: PathBuf,
    /// The folder of keys.
    pub(crate) keys: PathBuf,
    /// The folder of what this user has seen, such as the sequences of live pointers.
    pub(crate) state: PathBuf,
}

/// A value and where it was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Setting<T> {
    /// The value.
    pub(crate) value: T,
    /// The flag, variable or file, or `default`.
    pub(crate) from: String,
}

/// Which key signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyChoice {
    /// One of the keys folder.
    Name(String),
    /// A file anywhere.
    File(PathBuf),
}

/// Why the settings could not be decided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// A file that is there cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file does not make sense.
    #[error("the configuration file {} is not valid", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line and what is wrong with it.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A key is no key.
    #[error("the configuration file {} trusts {key:?} for owner {owner}, which is not a public key (name:base64)", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// The owner.
        owner: String,
        /// The text.
        key: String,
    },
    /// Nowhere to look for the user's configuration.
    #[error(
        "neither HOME nor XDG_CONFIG_HOME is set, so there is no folder for keys and configuration"
    )]
    NoHome,
}

impl<T> Setting<T> {
    fn new(value: T, from: impl Into<String>) -> Self {
        Self {
            value,
            from: from.into(),
        }
    }
}

/// The places that a value may come from, best first: the first that has it wins.
struct Sources {
    user: (PathBuf, ConfigFile),
    system: (PathBuf, ConfigFile),
}

impl Sources {
    fn pick<T>(&self, take: impl Fn(&ConfigFile) -> Option<T>) -> Option<Setting<T>> {
        [&self.user, &self.system]
            .into_iter()
            .find_map(|(path, file)| {
                take(file).map(|value| Setting::new(value, path.display().to_string()))
            })
    }
}

fn flag<T: Clone>(value: Option<&T>, name: &str) -> Option<Setting<T>> {
    value.map(|value| Setting::new(value.clone(), name))
}

fn variable(variables: &Variables, one: env_vars::EnvVar) -> Option<Setting<String>> {
    variables
        .get(one)
        .map(|value| Setting::new(value.to_owned(), one.name))
}

impl Settings {
    /// Decides the settings from flags, variables and files.
    ///
    /// # Errors
    /// Fails for a file that is there but unreadable, or has unknown keys or bad values.
    pub(crate) fn decide(flags: &GlobalArgs, variables: &Variables) -> Result<Self, SettingsError> {
        let folder = config_folder(variables)?;
        let path_of = |one, default: PathBuf| variables.get(one).map_or(default, PathBuf::from);
        let user_config = path_of(env_vars::CONFIG, folder.join("config.toml"));
        let system_config = path_of(env_vars::SYSTEM_CONFIG, "/etc/nival/config.toml".into());
        let files = Sources {
            user: (user_config.clone(), ConfigFile::read(&user_config)?),
            system: (system_config.clone(), ConfigFile::read(&system_config)?),
        };

        let hub = flag(flags.hub.as_ref(), "--hub")
            .or_else(|| variable(variables, env_vars::HUB))
            .or_else(|| files.pick(|file| file.hub.clone()))
            .unwrap_or_else(|| {
                Setting::new(format!("http://{}", api::hub::DEFAULT_ADDRESS), "default")
            });
        let nix = flag(flags.nix.as_ref(), "--nix")
            .or_else(|| variable(variables, env_vars::NIX))
            .or_else(|| files.pick(|file| file.nix.clone()))
            .unwrap_or_else(|| Setting::new("nix".to_owned(), "default"));
        let signing_key = variable(variables, env_vars::SIGNING_KEY_FILE)
            .map(|one| Setting::new(KeyChoice::File(one.value.into()), one.from))
            .or_else(|| {
                variable(variables, env_vars::SIGNING_KEY)
                    .or_else(|| files.pick(|file| file.signing_key.clone()))
                    .map(|one| Setting::new(KeyChoice::Name(one.value), one.from))
            });
        let author = variable(variables, env_vars::AUTHOR)
            .or_else(|| files.pick(|file| file.author.clone()));
        let revisions = files
            .pick(|file| file.catalog.as_ref()?.revisions.clone())
            .unwrap_or_else(|| {
                let nixpkgs = Revision {
                    name: "nixpkgs".into(),
                    path: NIXPKGS.into(),
                };
                Setting::new(vec![nixpkgs], "default")
            });
        let list = |take: fn(&ConfigFile) -> Option<Vec<String>>| {
            files
                .pick(take)
                .unwrap_or_else(|| Setting::new(Vec::new(), "default"))
        };
        Ok(Self {
            hub,
            token: decide_token(variables, &files)?,
            nix,
            substituters: list(|file| file.substituters.clone()),
            trusted_public_keys: list(|file| file.trusted_public_keys.clone()),
            signing_key,
            author,
            revisions,
            trust: decide_trust(&files)?,
            keys: folder.join("keys"),
            state: state_folder(variables)?,
            user_config,
        })
    }
}

/// The path that stands for the package set that Nix itself knows.
pub(crate) const NIXPKGS: &str = "<nixpkgs>";

/// Changes the user's configuration file, keeping all else in it as it is. It may hold a token, so it is private.
///
/// # Errors
/// Fails when the file cannot be read, is no TOML or cannot be written; it stays as it was then.
pub(crate) fn edit_user_file(path: &Path, change: impl FnOnce(&mut DocumentMut)) -> Outcome {
    let text = match fs_err::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    let mut document: DocumentMut = text
        .parse()
        .doing(|| format!("{} is not valid", path.display()))?;
    change(&mut document);
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    Ok(host::fs::write_atomic_private(
        path,
        document.to_string().as_bytes(),
    )?)
}

fn decide_token(
    variables: &Variables,
    files: &Sources,
) -> Result<Option<Setting<String>>, SettingsError> {
    let from_file = |one: Setting<PathBuf>| {
        let bytes = host::fs::read_bounded(&one.value, LARGEST_CONFIG).map_err(|source| {
            SettingsError::Read {
                path: one.value.clone(),
                source,
            }
        })?;
        let token = String::from_utf8_lossy(&bytes).trim().to_owned();
        Ok(Some(Setting::new(token, one.value.display().to_string())))
    };
    if let Some(token) = variable(variables, env_vars::TOKEN) {
        return Ok(Some(token));
    }
    if let Some(one) = variable(variables, env_vars::TOKEN_FILE) {
        return from_file(Setting::new(one.value.into(), one.from));
    }
    for source in [&files.user, &files.system] {
        if let Some(token) = &source.1.token {
            return Ok(Some(Setting::new(
                token.clone(),
                source.0.display().to_string(),
            )));
        }
        if let Some(file) = &source.1.token_file {
            // A relative path means beside the file that names it.
            let path = source
                .0
                .parent()
                .map_or_else(|| file.clone(), |folder| folder.join(file));
            return from_file(Setting::new(path, ""));
        }
    }
    Ok(None)
}

/// Trust adds up: a user may trust more keys than the system's file does, and that file's stay.
fn decide_trust(files: &Sources) -> Result<TrustedKeys, SettingsError> {
    let mut trusted = TrustedKeys::default();
    for (path, file) in [&files.user, &files.system] {
        for (owner, keys) in &file.trust {
            for key in keys {
                let parsed: PublicKey = key.parse().map_err(|_| SettingsError::BadKey {
                    path: path.clone(),
                    owner: owner.clone(),
                    key: key.clone(),
                })?;
                trusted.add(owner, parsed);
            }
        }
    }
    Ok(trusted)
}

fn config_folder(variables: &Variables) -> Result<PathBuf, SettingsError> {
    if let Some(folder) = variables.get(env_vars::XDG_CONFIG_HOME) {
        return Ok(Path::new(folder).join("nival"));
    }
    let home = variables.get(env_vars::HOME).ok_or(SettingsError::NoHome)?;
    Ok(Path::new(home).join(".config/nival"))
}

fn state_folder(variables: &Variables) -> Result<PathBuf, SettingsError> {
    if let Some(folder) = variables.get(env_vars::XDG_STATE_HOME) {
        return Ok(Path::new(folder).join("nival"));
    }
    let home = variables.get(env_vars::HOME).ok_or(SettingsError::NoHome)?;
    Ok(Path::new(home).join(".local/state/nival"))
}

impl ConfigFile {
    fn read(path: &Path) -> Result<Self, SettingsError> {
        let bytes = match host::fs::read_bounded(path, LARGEST_CONFIG) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(SettingsError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let text = String::from_utf8(bytes).map_err(|error| SettingsError::Read {
            path: path.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        toml::from_str(&text).map_err(|source| SettingsError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(
        folder: &Path,
        user: &str,
        system: &str,
        extra: &[(&str, &str)],
    ) -> Result<Settings, SettingsError> {
        let user_path = folder.join("user.toml");
        let system_path = folder.join("system.toml");
        fs_err::write(&user_path, user).unwrap();
        fs_err::write(&system_path, system).unwrap();
        let base = [
            ("HOME", folder.to_str().unwrap()),
            ("NIVAL_CONFIG", user_path.to_str().unwrap()),
            ("NIVAL_SYSTEM_CONFIG", system_path.to_str().unwrap()),
        ];
        let variables = base
            .iter()
            .chain(extra)
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        Settings::decide(&GlobalArgs::default(), &variables)
    }

    #[test]
    fn variable_goes_before_user_before_system_before_default() {
        let folder = tempfile::tempdir().unwrap();
        let (user, system) = (
            "hub = \"http://user\"",
            "hub = \"http://system\"\nnix = \"/bin/nix\"",
        );
        let with_variable = decide(
            folder.path(),
            user,
            system,
            &[("NIVAL_HUB", "http://variable")],
        )
        .unwrap();
        assert_eq!(with_variable.hub.value, "http://variable");
        let with_user = decide(folder.path(), user, system, &[]).unwrap();
        assert_eq!(
            (with_user.hub.value.as_str(), with_user.nix.value.as_str()),
            ("http://user", "/bin/nix")
        );
        assert_eq!(
            decide(folder.path(), "", system, &[]).unwrap().hub.value,
            "http://system"
        );
        let default = decide(folder.path(), "", "", &[]).unwrap();
        assert_eq!(
            (default.hub.value.as_str(), default.hub.from.as_str()),
            ("http://127.0.0.1:7878", "default")
        );
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it_and_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = decide(folder.path(), "hubb = \"x\"", "", &[]).unwrap_err();
        assert!(error.to_string().contains("user.toml"), "{error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("hubb"), "{cause}");
    }

    #[test]
    fn a_token_file_is_found_beside_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("secret"), "abc\n").unwrap();
        let settings = decide(folder.path(), "token_file = \"secret\"", "", &[]).unwrap();
        assert_eq!(settings.token.unwrap().value, "abc");
    }
}
