//! `manifest.toml`: what the user wants in an environment.

mod check;
mod decode;
mod file;
mod packages;
mod tables;

use std::collections::BTreeMap;

use serde::Serialize;
use toml::de::DeTable;

pub use file::{
    ActivateMode, Build, BuildVersion, Containerize, Hook, Include, InstallEntry, InstallSource,
    ManifestFile, OptionsTable, Outputs, Profile, Readiness, Sandbox, Service, Shutdown,
};
pub(crate) use packages::is_attribute_path;

use crate::System;
use crate::diagnostic::Diagnostic;

/// The priority of a package that names none.
pub const DEFAULT_PRIORITY: u32 = 5;

/// The group of a package that names none.
pub const DEFAULT_GROUP: &str = "toplevel";

/// Larger texts are refused unread.
pub const LARGEST_MANIFEST: usize = 1 << 20;

/// A manifest with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// What the environment is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The packages by install id.
    pub install: BTreeMap<String, Install>,
    /// Variables; their values may refer to each other.
    pub vars: BTreeMap<String, String>,
    /// What runs at activation.
    pub hook: Hook,
    /// What interactive shells source.
    pub profile: Profile,
    /// Services by name.
    pub services: BTreeMap<String, Service>,
    /// Environments that are included, in order; later ones win, this one last.
    pub include: Vec<Include>,
    /// Builds by name.
    pub build: BTreeMap<String, Build>,
    /// Settings.
    pub options: Options,
    /// What an exported image says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containerize: Option<Containerize>,
}

/// A package that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Install {
    /// Where it comes from.
    pub source: InstallSource,
    /// Which wins where two packages have the same file: the lower.
    pub priority: u32,
    /// The systems it is wanted on: a part of [`Options::systems`].
    pub systems: Vec<System>,
    /// The outputs to install.
    pub outputs: Outputs,
}

/// Settings of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Options {
    /// The systems that the environment is for, sorted.
    pub systems: Vec<System>,
    /// Which packages are allowed.
    pub allow: Allow,
    /// Whether versions such as `2.0.0-rc1` are taken.
    pub allow_pre_releases: bool,
    /// How it is activated where nothing else is asked for.
    pub activate_mode: ActivateMode,
    /// Whether the machine's CUDA driver is looked for.
    pub cuda_detection: bool,
}

/// Which packages are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Allow {
    /// Licences that are not free.
    pub unfree: bool,
    /// Packages that are known not to work.
    pub broken: bool,
    /// Only these licences; empty for all.
    pub licenses: Vec<String>,
}

/// Everything that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("manifest is not valid: {}{}", diagnostics[0], more(diagnostics.len()))]
pub struct ManifestError {
    /// What is wrong, from top to bottom; never empty.
    pub diagnostics: Vec<Diagnostic>,
}

impl ManifestError {
    /// Returns all of it as lines of text that show the places.
    #[must_use]
    pub fn render(&self, file: &str) -> String {
        self.diagnostics
            .iter()
            .map(|one| one.render(file))
            .collect::<Vec<_>>()
            .join("\n\n")
    }
}

impl ManifestFile {
    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// Fails with everything that is wrong in it: syntax, unknown keys, wrong types, values out of range.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > LARGEST_MANIFEST {
            let message = format!(
                "manifest has {} bytes; the largest allowed is {LARGEST_MANIFEST}",
                text.len()
            );
            return Err(ManifestError {
                diagnostics: vec![Diagnostic::at("", &(0..0), message)],
            });
        }
        let document = DeTable::parse(text).map_err(|error| {
            let message = error.message().replace('\n', " ");
            let span = error.span().unwrap_or(0..0);
            ManifestError {
                diagnostics: vec![Diagnostic::at(text, &span, message)],
            }
        })?;
        let source = decode::Source::new(text, &document);
        let mut file = tables::read(&source, decode::Table::root(&source));
        let (errors, warnings) = source.finish();
        file.warnings = warnings;
        if errors.is_empty() {
            Ok(file)
        } else {
            Err(ManifestError {
                diagnostics: errors,
            })
        }
    }

    /// Returns the manifest with defaults where nothing is said.
    #[must_use]
    pub fn decide(&self) -> Manifest {
        let mut systems = self.options.systems.clone().unwrap_or_else(System::all);
        systems.sort();
        systems.dedup();
        let install = |entry: &InstallEntry| Install {
            source: entry.source.clone(),
            priority: entry.priority.unwrap_or(DEFAULT_PRIORITY),
            systems: match &entry.systems {
                None => systems.clone(),
                Some(own) => systems
                    .iter()
                    .filter(|system| own.contains(system))
                    .cloned()
                    .collect(),
            },
            outputs: entry.outputs.clone(),
        };
        Manifest {
            description: self.description.clone(),
            install: self
                .install
                .iter()
                .map(|(id, entry)| (id.clone(), install(entry)))
                .collect(),
            vars: self.vars.clone(),
            hook: self.hook.clone(),
            profile: self.profile.clone(),
            services: self.services.clone(),
            include: self.include.clone(),
            build: self.build.clone(),
            containerize: self.containerize.clone(),
            options: Options {
                allow: Allow {
                    unfree: self.options.allow_unfree.unwrap_or(false),
                    broken: self.options.allow_broken.unwrap_or(false),
                    licenses: self.options.allow_licenses.clone().unwrap_or_default(),
                },
                allow_pre_releases: self.options.allow_pre_releases.unwrap_or(false),
                activate_mode: self.options.activate_mode.unwrap_or_default(),
                cuda_detection: self.options.cuda_detection.unwrap_or(true),
                systems,
            },
        }
    }
}

impl Manifest {
    /// Reads the text of a manifest and fills in the defaults.
    ///
    /// # Errors
    /// Fails as [`ManifestFile::parse`] does.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        ManifestFile::parse(text).map(|file| file.decide())
    }

    /// Returns the manifest as data for the lock file: comments, order and spelled-out defaults make no difference.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a manifest has only strings as keys")
    }
}

/// Returns whether a text can be the id of a package, the name of a service or of a group.
#[must_use]
pub fn is_install_id(text: &str) -> bool {
    let fits = |one: char| one.is_ascii_alphanumeric() || "_-+.@".contains(one);
    text.len() <= 100
        && text.starts_with(|one: char| one.is_ascii_alphanumeric() || one == '_')
        && text.chars().all(fits)
}

/// Returns an install id as it is written as a key: in quotes where TOML wants them.
pub(crate) fn as_key(install_id: &str) -> String {
    let is_bare = install_id
        .chars()
        .all(|one| one.is_ascii_alphanumeric() || one == '_' || one == '-');
    if is_bare {
        install_id.to_owned()
    } else {
        format!("{install_id:?}")
    }
}

/// Returns whether a text can be the name of an environment variable.
#[must_use]
pub fn is_variable_name(text: &str) -> bool {
    text.len() <= 200
        && text.starts_with(|one: char| one.is_ascii_alphabetic() || one == '_')
        && text
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || one == '_')
}

fn more(count: usize) -> String {
    if count > 1 {
        format!(" (and {} more)", count - 1)
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests;
