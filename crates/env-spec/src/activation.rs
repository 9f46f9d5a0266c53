//! How to run a command in an environment: variables, search paths and the hook.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the activation of an environment sets, worked out when it was locked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActivationPlan {
    /// Variables in the order in which to set them. Their values are final but for `${NAME}` of names that the
    /// manifest does not set: those are taken from the surroundings when it is activated.
    pub variables: Vec<Variable>,
    /// Search paths such as `PATH`: these entries go before what the surroundings have.
    pub search_paths: BTreeMap<String, Vec<String>>,
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
