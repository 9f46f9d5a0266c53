//! A manifest as it was written: what is not said is `None`, so that included ones can fill it.

use std::collections::BTreeMap;

use nix_data::StorePath;
use serde::Serialize;

use crate::System;
use crate::diagnostic::Diagnostic;

/// The tables of a `manifest.toml` as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestFile {
    /// What the environment is for.
    pub description: Option<String>,
    /// `[install]` by install id.
    pub install: BTreeMap<String, InstallEntry>,
    /// `[vars]`.
    pub vars: BTreeMap<String, String>,
    /// `[hook]`.
    pub hook: Hook,
    /// `[profile]`.
    pub profile: Profile,
    /// `[services]` by name.
    pub services: BTreeMap<String, Service>,
    /// `[include]`.
    pub include: Vec<Include>,
    /// `[build]` by name.
    pub build: BTreeMap<String, Build>,
    /// `[options]`.
    pub options: OptionsTable,
    /// `[containerize]`.
    pub containerize: Option<Containerize>,
    /// What is read and checked but has no effect in Nival.
    pub warnings: Vec<Diagnostic>,
}

/// One entry of `[install]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallEntry {
    /// Where the package comes from.
    pub source: InstallSource,
    /// Which wins where two packages have the same file: the lower.
    pub priority: Option<u32>,
    /// The systems it is meant for.
    pub systems: Option<Vec<System>>,
    /// The outputs to install.
    pub outputs: Outputs,
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum InstallSource {
    /// The package set.
    Catalog {
        /// Its attribute path.
        pkg_path: String,
        /// Which versions will do.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// The packages that are taken from one revision together.
        group: String,
    },
    /// A Nix flake.
    Flake {
        /// The installable, such as `github:owner/name#package`.
        reference: String,
    },
    /// A store path.
    StorePath {
        /// The path.
        path: StorePath,
    },
}

/// Which outputs of a package are installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outputs {
    /// Those that the package itself names.
    #[default]
    Default,
    /// All of them.
    All,
    /// Just these.
    Named(Vec<String>),
}

/// `[hook]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hook {
    /// A bash script that runs once before the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_activate: Option<String>,
}

/// `[profile]`: scripts that interactive shells source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// For every shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common: Option<String>,
    /// For bash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bash: Option<String>,
    /// For zsh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zsh: Option<String>,
    /// For fish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fish: Option<String>,
    /// For tcsh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcsh: Option<String>,
}

/// One entry of `[services]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Service {
    /// What bash runs.
    pub command: String,
    /// Variables of this service alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
    /// Whether the command ends while what it started goes on.
    pub is_daemon: bool,
    /// Whether it starts with every activation.
    pub auto_start: bool,
    /// How to stop it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<Shutdown>,
    /// The services that must be ready first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// How to know that it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Readiness>,
    /// The systems it runs on; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub systems: Option<Vec<System>>,
}

/// How a service is stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Shutdown {
    /// What bash runs instead of a signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The signal's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<u32>,
    /// How long to wait before it is killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
}

/// How a service is known to be ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Readiness {
    /// Succeeds once the service is ready.
    pub command: String,
    /// How long to wait between two tries.
    pub interval_seconds: u32,
    /// When to give up.
    pub timeout_seconds: u32,
}

/// Another environment to include.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Include {
    /// A folder, relative to the project's.
    Dir {
        /// The folder.
        dir: String,
        /// What to call it in messages.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// A published environment.
    Remote {
        /// Its reference.
        remote: String,
        /// The generation; `None` for the live one.
        #[serde(skip_serializing_if = "Option::is_none")]
        generation: Option<u64>,
        /// What to call it in messages.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
}

/// One entry of `[build]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Build {
    /// The bash script that builds into `$out`.
    pub command: String,
    /// The version of what is built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<BuildVersion>,
    /// How far the build is cut off from the machine.
    pub sandbox: Sandbox,
    /// The install ids that the result needs at run time; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_packages: Option<Vec<String>>,
    /// One line about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its licences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub license: Vec<String>,
    /// The systems it builds on; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub systems: Option<Vec<System>>,
}

/// Where the version of a build comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildVersion {
    /// It is written here.
    Text(String),
    /// A file's contents.
    File(String),
    /// A command's output.
    Command(String),
}

/// How far a build is cut off from the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// Not at all.
    #[default]
    Off,
    /// As Nix's own builds are.
    Pure,
}

/// `[options]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptionsTable {
    /// The systems that the environment is for.
    pub systems: Option<Vec<System>>,
    /// Whether packages with licences that are not free are allowed.
    pub allow_unfree: Option<bool>,
    /// Whether packages that are known not to work are allowed.
    pub allow_broken: Option<bool>,
    /// The licences that are allowed.
    pub allow_licenses: Option<Vec<String>>,
    /// Whether versions such as `2.0.0-rc1` are taken.
    pub allow_pre_releases: Option<bool>,
    /// How it is activated where nothing else is asked for.
    pub activate_mode: Option<ActivateMode>,
    /// Whether the machine's CUDA driver is looked for.
    pub cuda_detection: Option<bool>,
}

/// How much an activation sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActivateMode {
    /// For working on something: compilers find headers and libraries too.
    #[default]
    Dev,
    /// For running something: only what programs need at run time.
    Run,
}

/// `[containerize.config]`: what an exported image says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Containerize {
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Ports such as `8080/tcp`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exposed_ports: Vec<String>,
    /// The command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Folders for volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// The folder to start in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

impl ManifestFile {
    /// Returns this manifest laid over another one: entries by name and options are taken from the other only where
    /// this one has none; scripts run one after the other, the other's first.
    #[must_use]
    pub fn include_before(mut self, base: Self) -> Self {
        self.description = self.description.or(base.description);
        self.install = over(base.install, self.install);
        self.vars = over(base.vars, self.vars);
        self.services = over(base.services, self.services);
        self.build = over(base.build, self.build);
        self.hook.on_activate = joined(base.hook.on_activate, self.hook.on_activate);
        self.profile = Profile {
            common: joined(base.profile.common, self.profile.common),
            bash: joined(base.profile.bash, self.profile.bash),
            zsh: joined(base.profile.zsh, self.profile.zsh),
            fish: joined(base.profile.fish, self.profile.fish),
            tcsh: joined(base.profile.tcsh, self.profile.tcsh),
        };
        let (own, other) = (self.options, base.options);
        self.options = OptionsTable {
            systems: own.systems.or(other.systems),
            allow_unfree: own.allow_unfree.or(other.allow_unfree),
            allow_broken: own.allow_broken.or(other.allow_broken),
            allow_licenses: own.allow_licenses.or(other.allow_licenses),
            allow_pre_releases: own.allow_pre_releases.or(other.allow_pre_releases),
            activate_mode: own.activate_mode.or(other.activate_mode),
            cuda_detection: own.cuda_detection.or(other.cuda_detection),
        };
        self.containerize = self.containerize.or(base.containerize);
        self
    }
}

fn over<T>(mut base: BTreeMap<String, T>, own: BTreeMap<String, T>) -> BTreeMap<String, T> {
    base.extend(own);
    base
}

fn joined(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{}\n{second}", first.trim_end_matches('\n'))),
        (first, second) => first.or(second),
    }
}
