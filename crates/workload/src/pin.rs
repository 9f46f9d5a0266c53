//! Which references of a workload's pod template become pins, which pins stay, and the edits that write them.
//!
//! Admission and `kubectl nival pin` decide with this code alone, so that a cluster and a file in git agree.

mod slot;

use std::collections::BTreeMap;

use env_spec::{Pin, Reference};
use serde_json::{Map, Value};

use crate::annotations::{self, AnnotationError, Annotations, Identity};
use crate::names::{
    ENVIRONMENT, ENVIRONMENT_OF, EXEC_OUTSIDE_OF, GENERATION_OF, PINNED_FROM_OF, PLACEHOLDER_IMAGE,
    RUNTIME_CLASS,
};
use crate::template::{Container, Kind, Template};
use slot::{Decision, Situation, State, decide};
pub use slot::{Slot, pinned_from};

/// How many names an error may list.
const MOST_NAMES: usize = 8;

/// Why nothing can be decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Not one of the kinds that have a template.
    #[error(
        "a {kind} has no pod template that Nival knows: expected one of {}",
        known_kinds()
    )]
    Kind {
        /// What it is.
        kind: String,
    },
    /// Its kind has a template, it has none.
    #[error("the {kind} has no pod template")]
    NoTemplate {
        /// What it is.
        kind: &'static str,
    },
    /// YAML reads `12` and `true` as something else than text.
    #[error("annotation {name} is not text: put its value in quotes")]
    NotText {
        /// The annotation.
        name: String,
    },
    /// An annotation that no node would accept.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// A typing mistake, most likely.
    #[error(
        "annotation {name} names a container that the pod does not have (it has: {containers}): name one of these, or remove the annotation"
    )]
    NoSuchContainer {
        /// The annotation.
        name: String,
        /// The containers that there are.
        containers: String,
    },
}

/// One change of an object. Lists are entered by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The way from the object's root.
    pub path: Vec<String>,
    /// The text to put there; `None` removes what is there.
    pub value: Option<String>,
}

/// What is to be done with a workload.
#[derive(Debug, Clone)]
pub struct Plan {
    kind: Kind,
    decisions: BTreeMap<Slot, Decision>,
    /// What is missing beside pins.
    additions: Vec<Edit>,
    warnings: Vec<String>,
}

impl Plan {
    /// Decides for an object, which replaces an older one where it is an update.
    ///
    /// # Errors
    /// Fails for annotations that no node would accept, and for objects that have no template.
    pub fn new(object: &Value, old: Option<&Value>) -> Result<Self, PlanError> {
        let kind = kind_of(object)?;
        let template =
            Template::of(kind, object).ok_or(PlanError::NoTemplate { kind: kind.name() })?;
        let old = old.and_then(|old| Template::of(kind, old));
        let annotations = checked_annotations(template)?;
        let old_annotations = old.map(Template::annotations).unwrap_or_default();
        let mut decisions = BTreeMap::new();
        for slot in Slot::all_in(&annotations) {
            let situation = Situation {
                annotations: &annotations,
                old: &old_annotations,
            };
            if let Some(decision) = decide(&slot, situation)? {
                decisions.insert(slot, decision);
            }
        }
        let mut plan = Self {
            kind,
            decisions,
            additions: Vec::new(),
            warnings: Vec::new(),
        };
        plan.look_at_containers(template, &annotations)?;
        Ok(plan)
    }

    /// Tells whether the workload runs in an environment at all.
    #[must_use]
    pub fn uses_environments(&self) -> bool {
        let active = |decision: &Decision| !matches!(decision, Decision::Remove);
        self.decisions.values().any(active)
    }

    /// Returns the references that must be resolved, each with the place that it stands in.
    #[must_use]
    pub fn wanted(&self) -> Vec<(Slot, Reference)> {
        let wanted = self
            .decisions
            .iter()
            .filter_map(|(slot, decision)| match decision {
                Decision::Resolve { reference, .. } => Some((slot.clone(), reference.clone())),
                _ => None,
            });
        wanted.collect()
    }

    /// Returns the pins that stand without any question to the hub.
    #[must_use]
    pub fn kept(&self) -> Vec<(Slot, Pin)> {
        let kept = self
            .decisions
            .iter()
            .filter_map(|(slot, decision)| match decision {
                Decision::Keep { pin } | Decision::Write { pin, .. } => {
                    Some((slot.clone(), pin.clone()))
                }
                _ => None,
            });
        kept.collect()
    }

    /// Returns what is odd but allowed, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the changes, given what the wanted references mean. What is not given stays without a pin.
    #[must_use]
    pub fn edits(&self, resolved: &BTreeMap<Slot, Pin>) -> Vec<Edit> {
        let mut edits = Vec::new();
        for (slot, decision) in &self.decisions {
            let (pin, pinned_from) = match decision {
                Decision::Keep { .. } => continue,
                Decision::Write { pin, pinned_from } => (Some(pin), Some(pinned_from)),
                Decision::Resolve { pinned_from, .. } => match resolved.get(slot) {
                    Some(pin) => (Some(pin), Some(pinned_from)),
                    None => continue,
                },
                Decision::Remove => (None, None),
            };
            edits.push(self.annotation(&slot.generation(), pin.map(ToString::to_string)));
            edits.push(self.annotation(&slot.pinned_from(), pinned_from.cloned()));
        }
        edits.extend(self.additions.iter().cloned());
        edits
    }

    fn annotation(&self, name: &str, value: Option<String>) -> Edit {
        self.edit(&["metadata", "annotations", name], value)
    }

    fn edit(&self, below: &[&str], value: Option<String>) -> Edit {
        let path = self.kind.path().iter().chain(below);
        Edit {
            path: path.map(|field| (*field).to_owned()).collect(),
            value,
        }
    }

    /// Adds what containers in environments need, and says what is odd.
    fn look_at_containers(
        &mut self,
        template: Template<'_>,
        annotations: &Annotations,
    ) -> Result<(), PlanError> {
        let containers = template.containers();
        if let Some(name) = self.stranger(annotations, &containers) {
            let known = containers.iter().map(|one| one.name).take(MOST_NAMES);
            return Err(PlanError::NoSuchContainer {
                name: name.to_owned(),
                containers: known.collect::<Vec<_>>().join(", "),
            });
        }
        if !self.uses_environments() {
            return Ok(());
        }
        let pod_wide = Slot::Pod.state(annotations);
        let mut pod_wide_is_used = false;
        for container in &containers {
            let own = Slot::Container(container.name.to_owned()).state(annotations);
            let takes_pods = own == State::Silent && pod_wide == State::Active;
            let has_image = !container.image.is_empty();
            if !has_image && (takes_pods || own == State::Active) {
                let index = container.index.to_string();
                let path = ["spec", container.list, &index, "image"];
                self.additions
                    .push(self.edit(&path, Some(PLACEHOLDER_IMAGE.to_owned())));
            }
            pod_wide_is_used |=
                takes_pods && (!has_image || annotations::is_placeholder(container.image));
        }
        if pod_wide == State::Active && !pod_wide_is_used {
            self.warnings.push(format!(
                "no container runs in the environment of {ENVIRONMENT}: it is for containers of the image {PLACEHOLDER_IMAGE} or of none; name one with another image by {ENVIRONMENT_OF}<container>"
            ));
        }
        match template.runtime_class() {
            None => self
                .additions
                .push(self.edit(&["spec", "runtimeClassName"], Some(RUNTIME_CLASS.to_owned()))),
            Some(RUNTIME_CLASS) => {}
            Some(other) => self.warnings.push(format!(
                "runtimeClassName is {}: its handler must be Nival's, or the pods run in no environment",
                annotations::shown(other)
            )),
        }
        Ok(())
    }

    /// Returns an annotation that names a container which is not there. Pins that go anyway are no mistake.
    fn stranger<'a>(
        &self,
        annotations: &'a Annotations,
        containers: &[Container<'_>],
    ) -> Option<&'a str> {
        let is_strange = |name: &&str| {
            let prefixes = [
                ENVIRONMENT_OF,
                GENERATION_OF,
                PINNED_FROM_OF,
                EXEC_OUTSIDE_OF,
            ];
            let container = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
            container.is_some_and(|container| {
                let slot = Slot::Container(container.to_owned());
                let goes = self.decisions.get(&slot) == Some(&Decision::Remove)
                    && **name != slot.environment()
                    && !name.starts_with(EXEC_OUTSIDE_OF);
                !goes && !containers.iter().any(|one| one.name == container)
            })
        };
        annotations.keys().map(String::as_str).find(is_strange)
    }
}

/// Makes the changes.
///
/// Objects are made where the way leads through none; a change whose way leads through something else is left out.
pub fn apply(object: &mut Value, edits: &[Edit]) {
    for edit in edits {
        let Some((last, way)) = edit.path.split_last() else {
            continue;
        };
        let place = way.iter().try_fold(&mut *object, step_into);
        let fields = place.and_then(|place| fields_of(place));
        match (fields, &edit.value) {
            (Some(fields), Some(text)) => {
                fields.insert(last.clone(), Value::String(text.clone()));
            }
            (Some(fields), None) => {
                fields.shift_remove(last);
            }
            (None, _) => {}
        }
    }
}

fn step_into<'a>(place: &'a mut Value, field: &String) -> Option<&'a mut Value> {
    match place {
        Value::Array(items) => items.get_mut(field.parse::<usize>().ok()?),
        other => Some(fields_of(other)?.entry(field).or_insert(Value::Null)),
    }
}

fn fields_of(place: &mut Value) -> Option<&mut Map<String, Value>> {
    if place.is_null() {
        *place = Value::Object(Map::new());
    }
    place.as_object_mut()
}

/// Checks that every container would be let in by a node, as far as the annotations go.
///
/// # Errors
/// Fails with what the node would say.
pub fn check(object: &Value) -> Result<(), PlanError> {
    let kind = kind_of(object)?;
    let template = Template::of(kind, object).ok_or(PlanError::NoTemplate { kind: kind.name() })?;
    let annotations = checked_annotations(template)?;
    for container in template.containers() {
        let identity = Identity {
            container: container.name.to_owned(),
            image: container.image.to_owned(),
            ..Identity::default()
        };
        annotations::wish_of_container(&annotations, &identity)?;
    }
    Ok(())
}

fn kind_of(object: &Value) -> Result<Kind, PlanError> {
    Kind::of(object).ok_or_else(|| {
        let kind = object.get("kind").and_then(Value::as_str);
        PlanError::Kind {
            kind: annotations::shown(kind.unwrap_or("object without a kind")),
        }
    })
}

fn known_kinds() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}

fn checked_annotations(template: Template<'_>) -> Result<Annotations, PlanError> {
    let raw = template.raw_annotations();
    let mut ours = raw
        .into_iter()
        .flatten()
        .filter(|(name, _)| annotations::is_ours(name));
    if let Some((name, _)) = ours.find(|(_, value)| !value.is_string()) {
        return Err(PlanError::NotText {
            name: annotations::shown(name),
        });
    }
    let texts = template.annotations();
    annotations::check(&texts)?;
    Ok(texts)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
