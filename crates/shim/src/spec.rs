//! From an OCI specification and an activation plan to the specification that runs. Pure.
//!
//! Works on the JSON itself, not on a typed form of it: a field that this version does not know must survive.

use std::collections::BTreeMap;

use api::agent::PrepareResponse;
use env_spec::activation::{self, ActivationPlan};
use env_spec::manifest::ActivateMode;
use serde_json::{Map, Value, json};

use workload::annotations::Annotations;

/// Where programs of the closure expect themselves.
pub(crate) const STORE: &str = "/nix/store";
/// Where the init and the hook appear in a container whose environment has one.
pub(crate) const HOOK_FOLDER: &str = "/nix/.nival";
/// The init's path in the container.
pub(crate) const INIT: &str = "/nix/.nival/init";

/// What a container without a `PATH` searches.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Of the environment itself, so that nothing may stand in their place.
const OWN_PREFIX: &str = "NIVAL_";
/// The environment's own name in manifests that were written for Flox.
const FLOX_ENVIRONMENT: &str = "FLOX_ENV";

/// Why a specification cannot take an environment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpecError {
    #[error("the container's specification has no {field}")]
    Missing { field: &'static str },
    #[error(
        "a volume is mounted at {destination:?}, where the environment's closure must be: mount it elsewhere"
    )]
    Covered { destination: String },
    #[error(
        "environment {pin} sets a variable with the invalid name or value {name:?}: push it anew without"
    )]
    Variable { pin: String, name: String },
    #[error("environment {pin} has an on-activate hook but no bash: install bash into it")]
    NoShell { pin: String },
}

/// The host's side of a hook: the folder and the program that the container sees.
#[derive(Debug, Clone)]
pub(crate) struct HookMounts {
    pub(crate) folder: String,
    pub(crate) init: String,
}

/// Returns a specification's annotations.
pub(crate) fn annotations(spec: &Value) -> Annotations {
    let pairs = spec.get("annotations").and_then(Value::as_object);
    let own = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    pairs.into_iter().flatten().filter_map(own).collect()
}

/// Tells whether the end of the first process must end the others by hand: in a process namespace of their own
/// the kernel does it.
pub(crate) fn shares_processes(spec: &Value) -> bool {
    let namespaces = spec.pointer("/linux/namespaces").and_then(Value::as_array);
    let own_namespace = |namespace: &Value| {
        let text = |name| namespace.get(name).and_then(Value::as_str).unwrap_or("");
        text("type") == "pid" && text("path").is_empty()
    };
    !namespaces.is_some_and(|all| all.iter().any(own_namespace))
}

/// The user that the container's first process runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Returns the container's user.
pub(crate) fn user(spec: &Value) -> User {
    let id = |name: &str| {
        let value = spec.pointer("/process/user")?.get(name)?.as_u64()?;
        u32::try_from(value).ok()
    };
    User {
        uid: id("uid").unwrap_or(0),
        gid: id("gid").unwrap_or(0),
    }
}

/// Root, wherever it is.
pub(crate) const ROOT: User = User { uid: 0, gid: 0 };

/// Returns a user's numbers on the host, where the container has a user namespace.
pub(crate) fn on_host(spec: &Value, inside: User) -> User {
    let map = |name: &str, id: u32| {
        let mappings = spec.pointer(name).and_then(Value::as_array);
        let mapped = mappings.into_iter().flatten().find_map(|mapping| {
            let number = |name| mapping.get(name).and_then(Value::as_u64);
            let offset = u64::from(id).checked_sub(number("containerID")?)?;
            let within = offset < number("size")?;
            within.then_some(number("hostID")? + offset)
        });
        mapped.and_then(|id| u32::try_from(id).ok()).unwrap_or(id)
    };
    User {
        uid: map("/linux/uidMappings", inside.uid),
        gid: map("/linux/gidMappings", inside.gid),
    }
}

/// Gives the container its environment: the closure at `/nix/store`, the variables, and the hook before its command.
pub(crate) fn apply(
    spec: &mut Value,
    plan: &PrepareResponse,
    hook: Option<&HookMounts>,
    home: &str,
) -> Result<(), SpecError> {
    let root = spec
        .as_object_mut()
        .ok_or(SpecError::Missing { field: "root" })?;
    let mounts = list(root, "mounts").ok_or(SpecError::Missing { field: "mounts" })?;
    if let Some(destination) = mounts.iter().find_map(covers_store) {
        return Err(SpecError::Covered { destination });
    }
    // Last, so that a volume at /nix lies below it. `rro` makes what is mounted inside read-only too.
    let bind = |source: &str, destination: &str, options: &[&str]| json!({"destination": destination, "type": "bind", "source": source, "options": options});
    mounts.push(bind(
        &plan.mount_source,
        STORE,
        &["rbind", "rro", "rprivate", "nosuid", "nodev"],
    ));
    if let Some(hook) = hook {
        let options = ["bind", "ro", "private", "nosuid", "nodev"];
        mounts.push(bind(&hook.folder, HOOK_FOLDER, &options));
        mounts.push(bind(&hook.init, INIT, &options));
    }
    let process = root
        .get_mut("process")
        .and_then(Value::as_object_mut)
        .ok_or(SpecError::Missing { field: "process" })?;
    let mut variables = strings(process.get("env"));
    add_variables(&mut variables, plan, home)?;
    process.insert("env".into(), json!(variables));
    if hook.is_some() {
        let arguments = list(process, "args").ok_or(SpecError::Missing {
            field: "process.args",
        })?;
        arguments.insert(0, json!(INIT));
    }
    Ok(())
}

/// Adds the plan's variables to a process's.
///
/// What the pod or the image sets for the container stays, as they are nearer to it than the environment is; but the
/// environment's own names, search paths, and values that build on what is there (`$PATH:/x`) are set in any case.
/// `home` is what the runtime will set where nobody has set it.
pub(crate) fn add_variables(
    variables: &mut Vec<String>,
    plan: &PrepareResponse,
    home: &str,
) -> Result<(), SpecError> {
    let mut surroundings: BTreeMap<String, String> = variables
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let is_kept = |name: &str, value: &str| {
        let own = name.starts_with(OWN_PREFIX) || name == FLOX_ENVIRONMENT;
        own || !surroundings.contains_key(name) || activation::names_in(value).contains(name)
    };
    let planned = plan.variables.iter();
    let search_paths = plan.search_paths.iter();
    let activation = ActivationPlan {
        variables: planned
            .filter(|variable| is_kept(&variable.name, &variable.value))
            .map(|variable| activation::Variable {
                name: variable.name.clone(),
                value: variable.value.clone(),
            })
            .collect(),
        // Those of mode `dev` are among them where the agent was asked for it.
        search_paths: search_paths
            .map(|path| (path.name.clone(), path.entries.clone()))
            .collect(),
        ..ActivationPlan::default()
    };
    surroundings
        .entry("HOME".into())
        .or_insert_with(|| home.to_owned());
    let path = surroundings.entry("PATH".into()).or_default();
    if path.is_empty() {
        DEFAULT_PATH.clone_into(path);
    }
    for (name, value) in activation.expand(ActivateMode::Run, &surroundings) {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(SpecError::Variable {
                pin: plan.pin.clone(),
                name: name.chars().take(60).collect(),
            });
        }
        set(variables, &name, &value);
    }
    Ok(())
}

/// Sets a variable, in the place of the old one where there is one.
pub(crate) fn set(variables: &mut Vec<String>, name: &str, value: &str) {
    let text = format!("{name}={value}");
    let is_same = |variable: &String| variable.split('=').next() == Some(name);
    match variables.iter().position(is_same) {
        None => variables.push(text),
        Some(first) => {
            variables[first] = text;
            let mut index = 0;
            variables.retain(|variable| {
                index += 1;
                index - 1 <= first || !is_same(variable)
            });
        }
    }
}

fn covers_store(mount: &Value) -> Option<String> {
    let destination = mount.get("destination")?.as_str()?;
    let parts: Vec<&str> = destination
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    (parts.starts_with(&["nix", "store"]) || parts.starts_with(&["nix", ".nival"]))
        .then(|| destination.chars().take(100).collect())
}

fn list<'a>(object: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Vec<Value>> {
    let entry = object.entry(name).or_insert_with(|| json!([]));
    if entry.is_null() {
        *entry = json!([]);
    }
    entry.as_array_mut()
}

/// Returns a JSON list's texts.
pub(crate) fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array);
    let own = |value: &Value| value.as_str().map(str::to_owned);
    list.into_iter().flatten().filter_map(own).collect()
}

#[cfg(test)]
#[path = "spec/tests.rs"]
mod tests;
