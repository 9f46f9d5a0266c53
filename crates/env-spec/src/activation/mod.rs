//! How to run a command in an environment: variables, search paths and the hook.

mod paths;
mod variables;

use std::collections::BTreeMap;

use nix_data::StorePath;
use serde::{Deserialize, Serialize};

pub use variables::{VariableError, names_in, resolve_variables};

use crate::compose::{ComposeError, Composed, Contents};
use crate::manifest::{ActivateMode, Manifest};

/// What the activation of an environment sets, worked out when it was locked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActivationPlan {
    /// Variables in the order in which to set them. Their values are final but for `${NAME}`: that is taken from the
    /// surroundings when it is activated, and is nothing where they lack it. `$$` is one dollar sign.
    pub variables: Vec<Variable>,
    /// Search paths such as `PATH`: these entries go before what the surroundings have.
    pub search_paths: BTreeMap<String, Vec<String>>,
    /// Search paths of mode `dev` alone, such as where compilers find headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub development_paths: BTreeMap<String, Vec<String>>,
    /// The `on-activate` hook, a bash script that runs once before the command.
    pub hook: Option<String>,
}

/// One variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The variable that holds the environment's store path.
pub const ENVIRONMENT: &str = "NIVAL_ENV";

/// The same as Flox names it, for manifests that were written for Flox.
const FLOX_ENVIRONMENT: &str = "FLOX_ENV";

/// What a search path means where nobody has set it: prepending to nothing must not hide that.
const MEANT_WHEN_UNSET: [(&str, &str); 4] = [
    // An empty entry stands for the system's own pages.
    ("INFOPATH", ""),
    ("MANPATH", ""),
    ("XDG_CONFIG_DIRS", "/etc/xdg"),
    ("XDG_DATA_DIRS", "/usr/local/share:/usr/share"),
];

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The variables make no sense.
    #[error(transparent)]
    Variables(#[from] VariableError),
    /// The environment cannot be read.
    #[error(transparent)]
    Compose(#[from] ComposeError),
}

impl Variable {
    /// Returns the value with what the surroundings have for each `${NAME}` in it, and `$$` as one dollar sign.
    #[must_use]
    pub fn filled(&self, surroundings: &BTreeMap<String, String>) -> String {
        variables::fill(&self.value, surroundings)
    }
}

impl ActivationPlan {
    /// Works out what the activation of an environment sets.
    ///
    /// # Errors
    /// Fails when variables refer to each other in a circle, and when a package cannot be read.
    pub fn new(
        manifest: &Manifest,
        composed: &Composed,
        contents: &dyn Contents,
    ) -> Result<Self, ActivationError> {
        let found = paths::find(composed, contents)?;
        let environment = composed.path.to_string();
        Ok(Self {
            variables: variables_of(manifest, &environment, found.variables)?,
            search_paths: found.search_paths,
            development_paths: found.development_paths,
            hook: manifest.hook.on_activate.clone(),
        })
    }

    /// Tells whether this can be the plan of a manifest, as far as that shows without what lies in the packages.
    ///
    /// Variables and hook are the manifest's own, and search paths lead into the environment alone.
    ///
    /// # Errors
    /// Fails when the manifest's variables make no sense.
    pub fn can_be_of(
        &self,
        manifest: &Manifest,
        environment: &StorePath,
    ) -> Result<bool, VariableError> {
        let environment = environment.to_string();
        if self.hook != manifest.hook.on_activate
            || !paths::can_be_in(&environment, &self.search_paths, &self.development_paths)
        {
            return Ok(false);
        }
        for certificates in paths::possible_certificates(&environment) {
            if self.variables == variables_of(manifest, &environment, certificates)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the variables to set, in order, over these surroundings.
    ///
    /// Search paths come last: their entries stand before what a variable of the plan or else the surroundings have.
    #[must_use]
    pub fn expand(
        &self,
        mode: ActivateMode,
        surroundings: &BTreeMap<String, String>,
    ) -> Vec<(String, String)> {
        let mut set: Vec<(String, String)> = Vec::new();
        for variable in &self.variables {
            set.push((variable.name.clone(), variable.filled(surroundings)));
        }
        let development = (mode == ActivateMode::Dev).then_some(&self.development_paths);
        for (name, entries) in self
            .search_paths
            .iter()
            .chain(development.into_iter().flatten())
        {
            let own = set
                .iter()
                .rev()
                .find(|(set, _)| set == name)
                .map(|(_, value)| value);
            let rest = own
                .or_else(|| surroundings.get(name))
                .filter(|value| !value.is_empty());
            let unset = MEANT_WHEN_UNSET.iter().find(|(known, _)| known == name);
            let rest = rest.map(String::as_str).or(unset.map(|(_, meant)| *meant));
            let parts = entries.iter().map(String::as_str).chain(rest);
            let value = parts.collect::<Vec<_>>().join(":");
            set.retain(|(set, _)| set != name);
            set.push((name.clone(), value));
        }
        set
    }
}

fn variables_of(
    manifest: &Manifest,
    environment: &str,
    found: Vec<(&'static str, String)>,
) -> Result<Vec<Variable>, VariableError> {
    let mut vars = manifest.vars.clone();
    vars.insert(ENVIRONMENT.to_owned(), environment.to_owned());
    if mentions_flox(manifest) {
        vars.entry(FLOX_ENVIRONMENT.to_owned())
            .or_insert_with(|| environment.to_owned());
    }
    for (name, value) in found {
        vars.entry(name.to_owned()).or_insert(value);
    }
    resolve_variables(&vars)
}

fn mentions_flox(manifest: &Manifest) -> bool {
    let profile = &manifest.profile;
    let scripts = [
        &manifest.hook.on_activate,
        &profile.common,
        &profile.bash,
        &profile.zsh,
        &profile.fish,
    ];
    let scripts = scripts.into_iter().flatten();
    let services = manifest.services.values().map(|service| &service.command);
    let mut texts = scripts.chain(manifest.vars.values()).chain(services);
    texts.any(|text| text.contains(FLOX_ENVIRONMENT))
}

#[cfg(test)]
mod tests;
