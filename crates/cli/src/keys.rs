//! Signing keys: one file each in the user's keys folder, secret ones for their owner alone.

use std::io;
use std::path::{Path, PathBuf};

use env_spec::TrustedKeys;
use nix_data::{PublicKey, SecretKey};

use crate::error::{CommandError, Doing as _, Outcome};
use crate::settings::{KeyChoice, Settings};

/// A key file is one short line.
const LARGEST_KEY: u64 = 4096;

/// The keys folder.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// Returns the keys of this folder.
    #[must_use]
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Makes a key.
    ///
    /// # Errors
    /// Fails for a name that is none, or of a key that is there: a lost key cannot be had back.
    pub(crate) fn generate(&self, name: &str) -> Outcome<SecretKey> {
        if !is_key_name(name) {
            let text = format!("{name:?} is not a name for a key");
            return Err(CommandError::user(text)
                .hint("use letters, digits, '-', '_' and '.', such as acme-1"));
        }
        let path = self.path(name);
        if path.exists() {
            let text = format!("there is a key {name} already: {}", path.display());
            return Err(CommandError::user(text)
                .hint("choose another name, such as one with the next number"));
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
        let key = SecretKey::generate_from_seed(name, seed)?;
        make_private_folder(&self.folder)?;
        host::fs::write_atomic_private(&path, format!("{}\n", key.expose()).as_bytes())?;
        Ok(key)
    }

    /// Returns the names of the keys, sorted.
    ///
    /// # Errors
    /// Fails when the folder cannot be read.
    pub(crate) fn names(&self) -> Outcome<Vec<String>> {
        let entries = match fs_err::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".secret"));
            names.extend(name.filter(|name| is_key_name(name)).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Reads a key.
    ///
    /// # Errors
    /// Fails when there is none of this name.
    pub(crate) fn read(&self, name: &str) -> Outcome<SecretKey> {
        let path = self.path(name);
        if !is_key_name(name) || !path.exists() {
            let known = self.names()?;
            let error = CommandError::user(format!(
                "there is no key {name:?} in {}",
                self.folder.display()
            ));
            return Err(match known.is_empty() {
                true => error.hint(format!("make it with `nival key generate {name}`")),
                false => error.hint(format!("there are: {}", known.join(", "))),
            });
        }
        read_key(&path)
    }

    /// Returns the key that signs: the configured one, or the only one there is.
    ///
    /// # Errors
    /// Fails when there is none, or several and none is chosen.
    pub(crate) fn signing(&self, settings: &Settings) -> Outcome<SecretKey> {
        match settings.signing_key.as_ref().map(|choice| &choice.value) {
            Some(KeyChoice::File(path)) => return read_key(path),
            Some(KeyChoice::Name(name)) => return self.read(name),
            None => {}
        }
        let names = self.names()?;
        match names.as_slice() {
            [only] => self.read(only),
            [] => Err(CommandError::user("there is no key to sign with")
                .hint("make one with `nival key generate NAME`, such as acme-1")),
            several => Err(CommandError::user(format!(
                "there are several keys and none is chosen to sign with: {}",
                several.join(", ")
            ))
            .hint("set `signing_key` in config.toml, or NIVAL_SIGNING_KEY, to one of them")),
        }
    }

    /// Returns what the user trusts for an owner: the configured keys, and the user's own ones, since what
    /// they signed is the user's own word.
    ///
    /// # Errors
    /// Fails when an own key cannot be read.
    pub(crate) fn trusted(&self, settings: &Settings, owner: &str) -> Outcome<TrustedKeys> {
        let mut trusted = settings.trust.clone();
        for name in self.names()? {
            trusted.add(owner, self.read(&name)?.public_key());
        }
        if let Some(KeyChoice::File(path)) =
            settings.signing_key.as_ref().map(|choice| &choice.value)
        {
            trusted.add(owner, read_key(path)?.public_key());
        }
        Ok(trusted)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.secret"))
    }
}

/// Adds a trusted key to a configuration file's text, keeping all else in it as it is; `None` when it is there already.
///
/// # Errors
/// Fails for a text that is no TOML, or where `trust` is something else than a table of lists.
pub(crate) fn add_trust(text: &str, owner: &str, key: &PublicKey) -> Outcome<Option<String>> {
    let mut document: toml_edit::DocumentMut = text.parse::<toml_edit::DocumentMut>()?;
    let wrong = |what: &str| {
        CommandError::user(format!(
            "`{what}` in the configuration file is of another kind"
        ))
    };
    let trust = document.entry("trust").or_insert_with(toml_edit::table);
    let table = trust.as_table_like_mut().ok_or_else(|| wrong("trust"))?;
    let list = table
        .entry(owner)
        .or_insert_with(|| toml_edit::value(toml_edit::Array::new()));
    let list = list
        .as_array_mut()
        .ok_or_else(|| wrong(&format!("trust.{owner}")))?;
    let key = key.to_string();
    if list.iter().any(|one| one.as_str() == Some(key.as_str())) {
        return Ok(None);
    }
    list.push(key);
    Ok(Some(document.to_string()))
}

fn read_key(path: &Path) -> Outcome<SecretKey> {
    let bytes = host::fs::read_bounded(path, LARGEST_KEY)?;
    let text = String::from_utf8_lossy(&bytes);
    // The text itself stays out of the error: it may be a secret with one letter wrong.
    text.trim()
        .parse()
        .doing(|| format!("{} is not a secret key (name:base64)", path.display()))
}

/// A name is a file's name and a part of `name:base64`.
fn is_key_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=100).contains(&name.len()) && !name.starts_with(['.', '-']) && name.bytes().all(allowed)
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot make {}: {error}", folder.display()),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_private_and_never_overwritten() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::in_folder(&folder.path().join("keys"));
        let key = keys.generate("acme-1").unwrap();
        let path = folder.path().join("keys/acme-1.secret");
        assert_eq!(
            fs_err::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(keys.read("acme-1").unwrap().public_key(), key.public_key());
        assert_eq!(keys.names().unwrap(), ["acme-1"]);
        keys.generate("acme-1").unwrap_err();
        for name in ["", "../x", "a b", ".x", "a:b"] {
            keys.generate(name).unwrap_err();
        }
    }

    #[test]
    fn trust_is_added_once_and_comments_stay() {
        let folder = tempfile::tempdir().unwrap();
        let key = Keys::in_folder(folder.path())
            .generate("acme-1")
            .unwrap()
            .public_key();
        let text = "# mine\nhub = \"http://h\" # here\n";
        let added = add_trust(text, "acme", &key).unwrap().unwrap();
        assert!(added.starts_with(text), "{added}");
        assert!(
            added.contains(&format!("[trust]\nacme = [\"{key}\"]")),
            "{added}"
        );
        assert_eq!(add_trust(&added, "acme", &key).unwrap(), None);
    }
}
