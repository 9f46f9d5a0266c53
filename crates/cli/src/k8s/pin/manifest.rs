//! One manifest: which of its objects name environments, and its text with their pins.

use std::collections::BTreeMap;

use serde_json::Value;
use workload::pin::{Plan, Slot, apply, check};
use workload::template::{Kind, Template, is_made_from_a_template};
use workload::uses::Use;

use super::resolver::Resolver;
use crate::error::{CommandError, Doing as _, Outcome};
use crate::k8s::object;
use crate::k8s::yaml::{self, Document};

/// A manifest that was read.
#[derive(Debug)]
pub(super) struct Manifest {
    documents: Vec<Document>,
    objects: Vec<Object>,
}

/// An object of it that names environments.
#[derive(Debug)]
struct Object {
    /// Its document.
    document: usize,
    /// The way to it in lists of lists.
    way: Vec<usize>,
    /// What it is called in messages.
    name: String,
    /// What it says, without the pins that are to be made anew.
    value: Value,
    kind: Kind,
    plan: Plan,
}

/// A manifest's text with pins.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) text: String,
    /// What was changed, a line each.
    pub(super) changes: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Manifest {
    /// Reads a manifest; where pins are to be made anew, those that there are do not count.
    pub(super) fn read(text: &str, anew: bool) -> Outcome<Self> {
        let documents = yaml::read(text)?;
        let mut objects = Vec::new();
        for (index, document) in documents.iter().enumerate() {
            find(&document.value, index, &mut Vec::new(), anew, &mut objects)?;
        }
        Ok(Self { documents, objects })
    }

    /// Returns what is not pinned, a line each; nothing is asked for.
    pub(super) fn unpinned(&self) -> Vec<String> {
        let mut found = Vec::new();
        for object in &self.objects {
            let name = &object.name;
            let wanted = object.plan.wanted();
            found.extend(wanted.iter().map(|(slot, reference)| {
                format!("{name}: {reference} of {slot} has no pin that was made from it")
            }));
            if wanted.is_empty() && !object.plan.edits(&BTreeMap::new()).is_empty() {
                found.push(format!(
                    "{name}: it is not as `kubectl nival pin` writes it"
                ));
            }
        }
        found
    }

    /// Resolves what is not pinned, and writes the pins.
    pub(super) async fn pin(&self, text: &str, resolver: &mut Resolver<'_>) -> Outcome<Pinned> {
        let mut wanted: Vec<Value> = self
            .documents
            .iter()
            .map(|document| document.value.clone())
            .collect();
        let (mut changes, mut warnings) = (Vec::new(), Vec::new());
        for object in &self.objects {
            let name = &object.name;
            warnings.extend(
                object
                    .plan
                    .warnings()
                    .iter()
                    .map(|one| format!("{name}: {one}")),
            );
            let template = Template::of(object.kind, &object.value);
            let systems = template.and_then(Template::systems).unwrap_or_default();
            let mut pins = BTreeMap::new();
            for (slot, reference) in object.plan.wanted() {
                let resolved = resolver.resolve(&reference).await.doing(|| name.clone())?;
                resolved.check_systems(&systems).doing(|| name.clone())?;
                pins.insert(slot, resolved.pin);
            }
            let mut value = object.value.clone();
            apply(&mut value, &object.plan.edits(&pins));
            check(&value).doing(|| name.clone())?;
            let place = wanted
                .get_mut(object.document)
                .and_then(|document| enter(document, &object.way));
            let Some(place) = place else { continue };
            changes.extend(told(name, object.kind, place, &value));
            *place = value;
        }
        let text = yaml::edit(text, &self.documents, &wanted).map_err(|error| {
            CommandError::from(error)
                .hint("write the annotations nival.dev/generation and nival.dev/pinned-from by hand once, in plain block style; later pins change them in place")
        })?;
        Ok(Pinned {
            text,
            changes,
            warnings,
        })
    }
}

/// Returns what a reader of the log wants to know of the change.
fn told(name: &str, kind: Kind, from: &Value, to: &Value) -> Vec<String> {
    if from == to {
        return Vec::new();
    }
    let annotations = |object| Template::of(kind, object).map(Template::annotations);
    let (before, after) = (
        annotations(from).unwrap_or_default(),
        annotations(to).unwrap_or_default(),
    );
    let pins: Vec<String> = Use::all_in(&after)
        .into_iter()
        .filter_map(|one| {
            let generation = one.slot.generation();
            let changed = before.get(&generation) != after.get(&generation);
            let pin = one.pin.filter(|_| changed)?;
            Some(format!(
                "{name}: {} is {pin}",
                one.reference.unwrap_or_default()
            ))
        })
        .collect();
    match pins.is_empty() {
        true => vec![format!("{name}: made as admission would")],
        false => pins,
    }
}

/// Looks for objects that name environments, in lists too.
fn find(
    value: &Value,
    document: usize,
    way: &mut Vec<usize>,
    anew: bool,
    objects: &mut Vec<Object>,
) -> Outcome {
    let kind_name = object::text(value, "/kind").unwrap_or_default();
    if kind_name.ends_with("List") {
        for (index, item) in object::list(value, "/items").iter().enumerate() {
            way.push(index);
            find(item, document, way, anew, objects)?;
            way.pop();
        }
        return Ok(());
    }
    let Some(kind) = Kind::of(value) else {
        return Ok(());
    };
    // What has no template is refused by the API server, and what a controller made has its template's pins.
    if Template::of(kind, value).is_none() || is_made_from_a_template(value) {
        return Ok(());
    }
    let name = format!(
        "{}/{}",
        kind.name().to_ascii_lowercase(),
        Some(object::name(value))
            .filter(|name| !name.is_empty())
            .unwrap_or("(no name)")
    );
    let mut value = value.clone();
    if anew {
        forget_pins(kind, &mut value);
    }
    let plan = Plan::new(&value, None).doing(|| name.clone())?;
    if !plan.uses_environments() && plan.edits(&BTreeMap::new()).is_empty() {
        return Ok(());
    }
    objects.push(Object {
        document,
        way: way.clone(),
        name,
        value,
        kind,
        plan,
    });
    Ok(())
}

/// Takes away the pins that were made from references; those that a person wrote alone stay.
fn forget_pins(kind: Kind, object: &mut Value) {
    let pointer: String = kind
        .path()
        .iter()
        .chain(&["metadata", "annotations"])
        .map(|field| format!("/{field}"))
        .collect();
    let Some(annotations) = object.pointer_mut(&pointer).and_then(Value::as_object_mut) else {
        return;
    };
    let made: Vec<String> = annotations
        .keys()
        .filter_map(
            |name| match name.strip_prefix(workload::names::PINNED_FROM_OF) {
                Some(container) => Some(Slot::Container(container.to_owned())),
                None => (name == workload::names::PINNED_FROM).then_some(Slot::Pod),
            },
        )
        .flat_map(|slot| [slot.generation(), slot.pinned_from()])
        .collect();
    for name in made {
        annotations.shift_remove(&name);
    }
}

fn enter<'a>(value: &'a mut Value, way: &[usize]) -> Option<&'a mut Value> {
    way.iter().try_fold(value, |place, index| {
        place.get_mut("items")?.get_mut(*index)
    })
}
