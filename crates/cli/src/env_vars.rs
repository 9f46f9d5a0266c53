//! Every environment variable that `nival` reads or sets, in one place.

/// One variable, with its documentation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EnvVar {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it does, in one sentence.
    pub(crate) about: &'static str,
}

/// The hub's address.
pub(crate) const HUB: EnvVar = EnvVar {
    name: "NIVAL_HUB",
    about: "Address of the hub.",
};
/// The hub's token.
pub(crate) const TOKEN: EnvVar = EnvVar {
    name: "NIVAL_TOKEN",
    about: "Token to ask the hub with.",
};
/// A file with the hub's token.
pub(crate) const TOKEN_FILE: EnvVar = EnvVar {
    name: "NIVAL_TOKEN_FILE",
    about: "File with the token to ask the hub with.",
};
/// The `nix` program.
pub(crate) const NIX: EnvVar = EnvVar {
    name: "NIVAL_NIX",
    about: "Path or name of the `nix` program.",
};
/// The key to sign with.
pub(crate) const SIGNING_KEY: EnvVar = EnvVar {
    name: "NIVAL_SIGNING_KEY",
    about: "Name of the key that signs what is pushed.",
};
/// A file with the key to sign with.
pub(crate) const SIGNING_KEY_FILE: EnvVar = EnvVar {
    name: "NIVAL_SIGNING_KEY_FILE",
    about: "File with the secret key that signs what is pushed; goes before `NIVAL_SIGNING_KEY`.",
};
/// Who a generation says made it.
pub(crate) const AUTHOR: EnvVar = EnvVar {
    name: "NIVAL_AUTHOR",
    about: "Author that a pushed generation names.",
};
/// The user's configuration file.
pub(crate) const CONFIG: EnvVar = EnvVar {
    name: "NIVAL_CONFIG",
    about: "The user's configuration file, in place of `$XDG_CONFIG_HOME/nival/config.toml`.",
};
/// The system's configuration file.
pub(crate) const SYSTEM_CONFIG: EnvVar = EnvVar {
    name: "NIVAL_SYSTEM_CONFIG",
    about: "The system's configuration file, in place of `/etc/nival/config.toml`.",
};
/// Which events are logged.
pub(crate) const LOG: EnvVar = EnvVar {
    name: host::telemetry::FILTER_VARIABLE,
    about: "Which events are logged to standard error, such as `debug` or `cli=trace`.",
};
/// Where configuration lies.
pub(crate) const XDG_CONFIG_HOME: EnvVar = EnvVar {
    name: "XDG_CONFIG_HOME",
    about: "Folder of the user's configuration (`~/.config`).",
};
/// Where state lies.
pub(crate) const XDG_STATE_HOME: EnvVar = EnvVar {
    name: "XDG_STATE_HOME",
    about: "Folder of the user's state (`~/.local/state`).",
};
/// The user's home.
pub(crate) const HOME: EnvVar = EnvVar {
    name: "HOME",
    about: "The user's home folder.",
};
/// The user's shell.
pub(crate) const SHELL: EnvVar = EnvVar {
    name: "SHELL",
    about: "Shell that `nival activate` starts when no command is given.",
};
/// The user's name.
pub(crate) const USER: EnvVar = EnvVar {
    name: "USER",
    about: "Author that a pushed generation names, when `NIVAL_AUTHOR` and `author` are not set.",
};

/// All of them, for the reference page.
pub(crate) const ALL: &[EnvVar] = &[
    HUB,
    TOKEN,
    TOKEN_FILE,
    NIX,
    SIGNING_KEY,
    SIGNING_KEY_FILE,
    AUTHOR,
    CONFIG,
    SYSTEM_CONFIG,
    LOG,
    XDG_CONFIG_HOME,
    XDG_STATE_HOME,
    HOME,
    SHELL,
    USER,
];

/// The variables as they were when the program began: taken once, so that nothing below reads globals.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables(std::collections::BTreeMap<String, String>);

impl Variables {
    /// Takes the process's variables. What is not UTF-8 is of no use here and left out.
    #[must_use]
    pub(crate) fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// Returns a variable's value; an empty one counts as not set.
    #[must_use]
    pub(crate) fn get(&self, variable: EnvVar) -> Option<&str> {
        self.by_name(variable.name)
            .filter(|value| !value.is_empty())
    }

    /// Returns the value of any variable, for what the environment's own plan refers to.
    #[must_use]
    pub(crate) fn by_name(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns all variables.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}
