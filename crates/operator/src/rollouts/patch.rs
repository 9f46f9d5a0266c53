//! The one patch that changes a workload: pins, memory, its date and a line for the history, all or nothing.

use std::collections::BTreeMap;

use env_spec::Pin;
use serde_json::{Map, Value, json};
use workload::names::{CHANGE_CAUSE, ROLLOUT, ROLLOUT_SERIAL};
use workload::pin::pinned_from;
use workload::rollout::{Memory, Phase};
use workload::uses::Use;

use super::decide::{self, Write};
use super::seen::{CAUSE_PREFIX, Key, Workload, api_version};

/// Returns the environment as decisions name it: as the reference does.
pub(crate) fn environment_of(one: &Use) -> String {
    match &one.hub {
        Some(hub) => format!("{hub}/{}", one.environment),
        None => one.environment.to_string(),
    }
}

/// Returns the places that follow the live pointer, as decisions see them. A reference to another hub follows nothing.
pub(crate) fn tracked_uses(workload: &Workload, is_own: impl Fn(&str) -> bool) -> Vec<decide::Use> {
    let floating = workload.uses.iter().filter(|one| one.floating);
    floating
        .filter(|one| one.hub.as_deref().is_none_or(&is_own))
        .map(|one| decide::Use {
            environment: environment_of(one),
            pin: one.pin.clone(),
            bare: one.pin.is_some() && !one.has_pinned_from,
        })
        .collect()
}

/// Returns what is applied by the API server. All that was applied before and is left out would be taken away, so
/// pins are said even where they stay; and it is refused when anything has changed since the workload was read.
pub(crate) fn apply(key: &Key, workload: &Workload, write: &Write) -> Value {
    let mut annotations = Map::new();
    for one in workload.uses.iter().filter(|one| one.floating) {
        let wanted = write
            .pins
            .as_ref()
            .and_then(|pins| pins.get(&environment_of(one)));
        let (pin, bare) = match wanted {
            Some(wanted) => (Some(&wanted.pin), wanted.bare),
            None => (one.pin.as_ref(), !one.has_pinned_from),
        };
        let (Some(pin), Some(reference)) = (pin, &one.reference) else {
            continue;
        };
        annotations.insert(one.slot.generation(), pin.to_string().into());
        if !bare {
            let from = pinned_from(reference, &workload.restart);
            annotations.insert(one.slot.pinned_from(), from.into());
        }
    }
    let mut template = json!({ "metadata": { "annotations": annotations } });
    for field in key.kind.path().iter().rev() {
        template = json!({ (*field): template });
    }
    let mut own = json!({ ROLLOUT: write.memory.to_annotation() });
    let cause = match &write.pins {
        Some(_) => Some(cause(workload, write)),
        None => workload.cause.clone(),
    };
    if let Some(cause) = cause {
        own[CHANGE_CAUSE] = cause.into();
    }
    let mut object = json!({
        "apiVersion": api_version(key.kind),
        "kind": key.kind.name(),
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "uid": workload.uid,
            "resourceVersion": workload.resource_version,
            "annotations": own,
            "labels": { ROLLOUT_SERIAL: write.memory.serial.to_string() },
        },
    });
    if let (Some(object), Some(template)) = (object.as_object_mut(), template.as_object()) {
        object.extend(template.clone());
    }
    object
}

/// Says the change for `kubectl rollout history`.
fn cause(workload: &Workload, write: &Write) -> String {
    let mut present = BTreeMap::new();
    for one in workload.uses.iter().filter(|one| one.floating) {
        present
            .entry(environment_of(one))
            .or_insert(one.pin.as_ref());
    }
    let wanted = write.pins.iter().flatten();
    let said = wanted.filter_map(|(environment, wanted)| {
        let present = present.get(environment).copied().flatten();
        (present != Some(&wanted.pin)).then(|| moved(present, &wanted.pin))
    });
    let said: Vec<String> = said.collect();
    let end = match write.memory.phase {
        Phase::RolledBack => " (rolled back)",
        _ => "",
    };
    // Room for a few dozen environments.
    let text: String = format!("{CAUSE_PREFIX}{}{end}", said.join(", "));
    text.chars().take(900).collect()
}

/// Says from where to where, as short as it is clear: `acme/api:12 → :13`.
pub(crate) fn moved(from: Option<&Pin>, to: &Pin) -> String {
    match from {
        Some(from) if from.environment == to.environment => {
            format!("{} → :{}", short(from), to.number)
        }
        _ => short(to),
    }
}

/// Says which generation, without its digest.
pub(crate) fn short(pin: &Pin) -> String {
    format!("{}:{}", pin.environment, pin.number)
}

/// Says what a memory's rollout changes.
pub(crate) fn changes(memory: &Memory) -> String {
    let said = memory.environments.values();
    let mut said: Vec<String> = said
        .filter(|step| step.from.as_ref() != Some(&step.to))
        .map(|step| moved(step.from.as_ref(), &step.to))
        .collect();
    if said.is_empty() {
        said = memory
            .environments
            .values()
            .map(|step| short(&step.to))
            .collect();
    }
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use kube::api::DynamicObject;
    use workload::rollout::{Recall, Step};
    use workload::template::Kind;

    use super::super::decide::Wanted;
    use super::super::seen::read;
    use super::*;

    fn pin(number: u64) -> Pin {
        let digest = "0".repeat(64);
        format!("acme/api:{number}@sha256:{digest}")
            .parse()
            .unwrap()
    }

    fn workload(kind: Kind, from: Option<&str>) -> (Key, Workload) {
        let mut template = json!({"metadata": {"annotations": {
            "nival.dev/environment": " acme/api ", "nival.dev/generation": pin(12).to_string(),
            "environment.nival.dev/fixed": "acme/api:3",
            "kubectl.kubernetes.io/restartedAt": "2026-11-25T10:00:00Z"}}});
        if let Some(from) = from {
            template["metadata"]["annotations"]["nival.dev/pinned-from"] = from.into();
        }
        for field in kind.path().iter().rev() {
            template = json!({ (*field): template });
        }
        let mut object = json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
            "annotations": {"kubernetes.io/change-cause": "nival: before"}}});
        object
            .as_object_mut()
            .unwrap()
            .extend(template.as_object().unwrap().clone());
        read(
            kind,
            serde_json::from_value::<DynamicObject>(object).unwrap(),
        )
        .unwrap()
    }

    fn write(to: Option<(u64, bool)>, phase: Phase) -> Write {
        let step = Step {
            from: Some(pin(12)),
            to: pin(13),
            sequence: 6,
            bare: false,
        };
        let wanted = |(number, bare)| {
            BTreeMap::from([(
                "acme/api".to_owned(),
                Wanted {
                    pin: pin(number),
                    bare,
                },
            )])
        };
        Write {
            memory: Memory {
                serial: 4,
                phase,
                environments: BTreeMap::from([("acme/api".to_owned(), step)]),
                started_at: "2026-11-25T10:00:00Z".parse().unwrap(),
                ended_at: None,
                progress: None,
                paused_at: None,
                failed: false,
                reason: String::new(),
                failed_before: None,
            },
            pins: to.map(wanted),
            ask_pods: false,
        }
    }

    #[test]
    fn pins_memory_date_and_history_are_in_one_patch() {
        let (key, workload) = workload(Kind::CronJob, Some("acme/api 2026-11-25T10:00:00Z"));
        let write = write(Some((13, false)), Phase::Progressing);
        assert_eq!(
            apply(&key, &workload, &write),
            json!({
                "apiVersion": "batch/v1", "kind": "CronJob",
                "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                    "annotations": {"nival.dev/rollout": write.memory.to_annotation(),
                        "kubernetes.io/change-cause": "nival: acme/api:12 → :13"},
                    "labels": {"nival.dev/rollout-serial": "4"}},
                "spec": {"jobTemplate": {"spec": {"template": {"metadata": {"annotations": {
                    "nival.dev/generation": pin(13).to_string(),
                    "nival.dev/pinned-from": "acme/api 2026-11-25T10:00:00Z"}}}}}},
            })
        );
    }

    #[test]
    fn what_stays_is_said_again_so_that_it_is_not_taken_away() {
        let (key, workload) = workload(Kind::Deployment, Some("acme/api 2026-11-25T10:00:00Z"));
        let object = apply(&key, &workload, &write(None, Phase::Complete));
        let annotations = object
            .pointer("/spec/template/metadata/annotations")
            .unwrap();
        assert_eq!(annotations["nival.dev/generation"], pin(12).to_string());
        assert_eq!(
            annotations["nival.dev/pinned-from"],
            "acme/api 2026-11-25T10:00:00Z"
        );
        assert_eq!(
            object["metadata"]["annotations"]["kubernetes.io/change-cause"],
            "nival: before"
        );
    }

    #[test]
    fn a_pin_written_by_hand_comes_back_without_a_word_of_its_origin() {
        let (key, workload) = workload(Kind::Deployment, None);
        let back = apply(&key, &workload, &write(Some((12, true)), Phase::RolledBack));
        let annotations = back.pointer("/spec/template/metadata/annotations").unwrap();
        assert_eq!(
            annotations.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["nival.dev/generation"]
        );
    }

    #[test]
    fn going_back_is_said_as_such() {
        let (_, mut workload) = workload(Kind::Deployment, None);
        workload
            .uses
            .iter_mut()
            .for_each(|one| one.pin = one.pin.as_ref().map(|_| pin(13)));
        let write = write(Some((12, false)), Phase::RolledBack);
        assert_eq!(
            cause(&workload, &write),
            "nival: acme/api:13 → :12 (rolled back)"
        );
        assert_eq!(changes(&write.memory), "acme/api:12 → :13");
        assert_eq!(workload.recall, Recall::Fresh);
    }
}
