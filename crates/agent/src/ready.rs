//! What is needed to start a container, worked out once per generation and kept for the next start.

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use env_spec::activation::ActivationPlan;
use env_spec::generation::{ClosurePath, Generation};
use env_spec::{Digest, Pin, System};
use nix_data::StorePath;
use store::{ClosureId, Key, Store};

use crate::error::AgentError;
use crate::generations::Seen;

/// How many generations are kept in memory: as many as a busy node runs at a time.
const MOST: usize = 64;
/// As many symlinks as the kernel follows.
const MOST_LINKS: usize = 40;

/// One generation on one system, verified.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) pin: Pin,
    pub(crate) system: System,
    pub(crate) environment: StorePath,
    /// Without references: only what is needed to fetch and present it.
    pub(crate) closure: Vec<ClosurePath>,
    pub(crate) id: ClosureId,
    pub(crate) nar_bytes: u64,
    pub(crate) plan: ActivationPlan,
    programs: std::sync::OnceLock<Programs>,
}

/// Programs that the root filesystem links to, as paths in the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Programs {
    pub(crate) shell: Option<String>,
    pub(crate) env: Option<String>,
}

/// The generations that were used last.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Vec<Arc<Ready>>>);

impl Ready {
    pub(crate) fn new(
        mut generation: Generation,
        digest: Digest,
        system: &System,
    ) -> Result<Self, AgentError> {
        generation.system(system)?;
        let pin = Pin {
            hub: None,
            environment: generation.environment.clone(),
            number: generation.number,
            digest,
        };
        let one = generation
            .systems
            .remove(system)
            .expect("it was just found");
        let nar_bytes = one.nar_bytes();
        let closure: Vec<ClosurePath> = one
            .closure
            .into_iter()
            .map(|path| ClosurePath {
                references: Vec::new(),
                ..path
            })
            .collect();
        Ok(Self {
            pin,
            system: system.clone(),
            environment: one.environment,
            id: ClosureId::of(&closure),
            closure,
            nar_bytes,
            plan: one.activation,
            programs: std::sync::OnceLock::new(),
        })
    }

    /// Returns `owner/name:number`.
    pub(crate) fn label(&self) -> String {
        format!("{}:{}", self.pin.environment, self.pin.number)
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            pin: self.pin.clone(),
            closure: self.id,
            environment: self.environment.to_string(),
            paths: self.closure.len() as u64,
            nar_bytes: self.nar_bytes,
        }
    }

    /// Returns the programs; all paths must be present.
    pub(crate) fn programs(&self, store: &Store) -> &Programs {
        self.programs.get_or_init(|| {
            let first = |names: &[&str]| {
                let paths = names
                    .iter()
                    .map(|name| format!("{}/bin/{name}", self.environment));
                paths
                    .into_iter()
                    .find(|path| is_program(store, &self.closure, Path::new(path)))
            };
            Programs {
                shell: first(&["sh", "bash"]),
                env: first(&["env"]),
            }
        })
    }
}

impl Known {
    pub(crate) fn digests(&self) -> Vec<Digest> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|ready| ready.pin.digest).collect()
    }

    pub(crate) fn get(&self, digest: Digest, system: &System) -> Option<Arc<Ready>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let position = known
            .iter()
            .position(|one| one.pin.digest == digest && one.system == *system)?;
        let found = known.remove(position);
        known.insert(0, Arc::clone(&found));
        Some(found)
    }

    pub(crate) fn put(&self, ready: Ready) -> Arc<Ready> {
        let ready = Arc::new(ready);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(0, Arc::clone(&ready));
        known.truncate(MOST);
        ready
    }
}

/// Tells whether a path, seen from inside the container, leads to an executable file of the closure.
///
/// Symlinks are followed by hand: on the node they would lead to the node's own files.
fn is_program(store: &Store, closure: &[ClosurePath], path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(place) = resolve(store, closure, path) else {
        return false;
    };
    fs_err::symlink_metadata(place)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Returns where on the node a path of the container ends, with no symlink left in it.
fn resolve(store: &Store, closure: &[ClosurePath], path: &Path) -> Option<PathBuf> {
    let mut links = 0;
    // What is still to be walked, last component first.
    let mut left: Vec<std::ffi::OsString> = components(path);
    // Where the walk is, as the container sees it, and on the node once it is inside a store path.
    let mut inside = PathBuf::from("/");
    while let Some(name) = left.pop() {
        if name == ".." {
            inside.pop();
            continue;
        }
        inside.push(&name);
        let Some(place) = on_node(store, closure, &inside) else {
            continue;
        };
        let metadata = fs_err::symlink_metadata(&place).ok()?;
        if metadata.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return None;
            }
            let target = fs_err::read_link(&place).ok()?;
            inside.pop();
            if target.is_absolute() {
                inside = PathBuf::from("/");
            }
            left.extend(components(&target));
        }
    }
    on_node(store, closure, &inside)
}

fn components(path: &Path) -> Vec<std::ffi::OsString> {
    let names = path
        .components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        });
    names.collect()
}

/// Returns the place on the node of a path below `/nix/store`, if its store path is in the closure.
fn on_node(store: &Store, closure: &[ClosurePath], inside: &Path) -> Option<PathBuf> {
    let (path, rest) = StorePath::split(inside.to_str()?).ok()?;
    let index = closure.binary_search_by(|one| one.path.cmp(&path)).ok()?;
    let place = store.place_of(&Key::of(&closure[index]));
    let rest = rest.trim_start_matches('/');
    Some(if rest.is_empty() {
        place
    } else {
        place.join(rest)
    })
}
