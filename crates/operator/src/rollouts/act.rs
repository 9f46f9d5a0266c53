//! One look at a workload: what is decided is done, in an order that a crash at any point leaves nothing to repair.

use std::collections::BTreeMap;
use std::sync::Arc;

use env_spec::System;
use jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use workload::names::OPERATOR;
use workload::rollout::Memory;

use super::decide::{self, Decision, Live, Situation, Write, decide};
use super::index::{Index, Item, Want};
use super::patch::{apply, environment_of, tracked_uses};
use super::seen::{Key, Workload, read, resource};
use super::{State, nodes, pods, told};

/// What a decision needs beside the workload itself.
struct Around {
    live: BTreeMap<String, Live>,
    trouble: Option<String>,
    systems: Vec<System>,
    paused: bool,
}

/// Looks at a workload.
pub(super) async fn look(state: &State, key: &Key) -> Result<(), kube::Error> {
    let Some(workload) = state.with(|index| index.workload(key)) else {
        return Ok(());
    };
    if workload.ending || !workload.tracked {
        let items = state.with(|index| {
            index.put_waiting(key, None);
            index.put_want(key, None)
        });
        state.look_at(items);
        return Ok(());
    }
    let is_own = |hub: &str| state.resolver.is_own(hub);
    let uses = tracked_uses(&workload, is_own);
    let around = state.with(|index| Around::of(index, key, &workload));
    let situation = Situation {
        recall: &workload.recall,
        tracked: true,
        paused: around.paused,
        uses: &uses,
        live: &around.live,
        trouble: around.trouble.as_deref(),
        progress: workload.progress,
        deadline: workload.deadline,
        fetching: state.with(|index| index.fetching(key)),
        now: Timestamp::now(),
    };
    let mut decision = decide(&situation);
    if let Some(write) = decision.write.take() {
        let written = carry_out(state, key, &workload, write, &decision).await;
        match written {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {
                take(state, key, &workload.uid, None);
                return Ok(());
            }
            Err(kube::Error::Api(status)) if is_refusal(status.code, &status.message) => {
                let mut held = decide::refused(&situation, &status.message);
                if let Some(write) = held.write.take() {
                    carry_out(state, key, &workload, write, &held).await?;
                }
            }
            Err(error) => return Err(error),
        }
    }
    if decision.unblock {
        unblock(state, key, &workload).await?;
    }
    prefetch(state, key, &workload, &decision, &around.systems).await?;
    let waiting = decision
        .waiting
        .map(|text| match state.with(|index| index.why_not(key)) {
            Some(why) => format!("{text} ({why})"),
            None => text,
        });
    if state.with(|index| index.put_waiting(key, waiting)) {
        state.look_at(environments_of(key, &workload));
    }
    if let Some(again) = decision.again {
        state.queue.add(Item::Workload(key.clone()), again);
    }
    Ok(())
}

impl Around {
    fn of(index: &Index, key: &Key, workload: &Workload) -> Self {
        let mut around = Self {
            live: BTreeMap::new(),
            trouble: None,
            systems: Vec::new(),
            paused: workload.paused,
        };
        let mut systems: Option<Vec<System>> = None;
        for one in workload.uses.iter().filter(|one| one.floating) {
            around.paused |= index.is_suspended(&key.namespace, &one.environment);
            let Some(answer) = index.answer(&key.namespace, &one.environment) else {
                continue;
            };
            if let Some(live) = &answer.live {
                around.live.insert(environment_of(one), live.clone());
            }
            let trouble = answer.trouble.as_ref().filter(|trouble| trouble.lasting);
            if let Some(trouble) = trouble {
                around
                    .trouble
                    .get_or_insert_with(|| trouble.message.clone());
            }
            // A node has to have them all.
            let all = systems.get_or_insert_with(|| answer.systems.clone());
            all.retain(|system| answer.systems.contains(system));
        }
        around.systems = systems.unwrap_or_default();
        around
    }
}

/// Writes, and tells of it once it is written.
async fn carry_out(
    state: &State,
    key: &Key,
    workload: &Workload,
    mut write: Write,
    decision: &Decision,
) -> Result<(), kube::Error> {
    if write.ask_pods {
        let why = pods::why(state, key, workload, &write.memory).await?;
        write.memory.reason = Memory::reason_of(&format!("{why} ({})", write.memory.reason));
    }
    let api: Api<DynamicObject> =
        Api::namespaced_with(state.client.clone(), &key.namespace, &resource(key.kind));
    // Forced, since admission wrote the pins before us on behalf of whoever applied the workload. Nobody's change is
    // lost by it: the patch counts for the version that was read and no other.
    let how = PatchParams::apply(OPERATOR).force();
    let object = apply(key, workload, &write);
    let object = api.patch(&key.name, &how, &Patch::Apply(object)).await?;
    let read = read(key.kind, object).map(|(_, workload)| workload);
    take(state, key, &workload.uid, read);
    if let Some(news) = decision.news {
        let memory = &write.memory;
        tracing::info!(
            workload = key.said(),
            namespace = key.namespace,
            ?news,
            reason = memory.reason,
            "rollout"
        );
        state.metrics.tell(news, memory);
        told::tell(&state.recorder, key, workload, news, memory).await;
    }
    Ok(())
}

/// Takes what the API server answered about a workload.
fn take(state: &State, key: &Key, uid: &str, answer: Option<Workload>) {
    state.take(
        |index| index.workload(key).is_some_and(|known| known.uid == uid),
        |index| index.put_workload(key.clone(), answer),
    );
}

async fn unblock(state: &State, key: &Key, workload: &Workload) -> Result<(), kube::Error> {
    let pod = match pods::unblock(state, key, workload).await {
        // It has changed since it was seen, or is gone: the next look sees how it is now.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => None,
        other => other?,
    };
    if let (Some(pod), Some(memory)) = (pod, workload.recall.known()) {
        told::tell_unblocked(&state.recorder, key, workload, &pod, memory).await;
    }
    Ok(())
}

/// Lets nodes be asked for what is wanted now.
async fn prefetch(
    state: &State,
    key: &Key,
    workload: &Arc<Workload>,
    decision: &Decision,
    systems: &[System],
) -> Result<(), kube::Error> {
    let pins: Vec<String> = decision.prefetch.iter().map(ToString::to_string).collect();
    if state.with(|index| {
        index
            .want(key)
            .map_or(pins.is_empty(), |want| want.pins == pins)
    }) {
        return Ok(());
    }
    let want: Option<Want> = match pins.is_empty() {
        true => None,
        false => Some(nodes::choose(state, key, workload, &decision.prefetch, systems).await?),
    };
    let mut items = state.with(|index| index.put_want(key, want));
    items.push(Item::Workload(key.clone()));
    state.look_at(items);
    Ok(())
}

fn environments_of(key: &Key, workload: &Workload) -> Vec<Item> {
    let environments = workload.environments().into_iter();
    environments
        .map(|environment| Item::Environment(key.namespace.clone(), environment))
        .collect()
}

/// Tells whether admission refused: an answer that asking again does not change. That the operator may not do it at
/// all is said by the same code, but is no word about the generation.
fn is_refusal(code: u16, message: &str) -> bool {
    let denied = message.contains("denied the request") || message.contains("denied request");
    (400..500).contains(&code) && code != 429 && denied
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::rollouts::index::Answer;
    use crate::rollouts::scene::{self, NO_HUB};

    fn deployment(uid: &str, version: u64) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": uid, "resourceVersion": version.to_string(),
                "annotations": {"nival.dev/track": "latest"}},
            "spec": {"template": {"metadata": {"annotations": {"nival.dev/environment": "acme/api"}}}},
        })
    }

    /// Returns a term of leading in which a Deployment is known and has something to be written.
    fn state(
        answer: impl Fn(&State) -> (u16, Value) + Clone + Send + Sync + 'static,
    ) -> (Arc<State>, Key) {
        let state = scene::state(NO_HUB, move |state, _, uri, _| {
            // Events are not answered.
            match uri.contains("/deployments/web?") {
                true => answer(state),
                false => scene::error(503, "ServiceUnavailable"),
            }
        });
        let (key, workload) = read_one(deployment("old", 1));
        state.with(|index| index.put_workload(key.clone(), Some(workload)));
        let digest = "0".repeat(64);
        let answer = Answer {
            live: Some(Live {
                pin: format!("acme/api:12@sha256:{digest}").parse().unwrap(),
                sequence: 5,
                since: String::new(),
            }),
            ..Answer::default()
        };
        let environment = "acme/api".parse().unwrap();
        state.with(|index| index.put_answer("shop", &environment, Ok(answer)));
        (state, key)
    }

    fn read_one(object: Value) -> (Key, Workload) {
        read(
            workload::template::Kind::Deployment,
            serde_json::from_value(object).unwrap(),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn a_workload_that_is_gone_or_another_by_the_time_of_an_answer_stays_so() {
        let (state, key) = state(|state| {
            let (key, _) = read_one(deployment("old", 1));
            state.with(|index| index.put_workload(key, None));
            (200, deployment("old", 2))
        });
        look(&state, &key).await.unwrap();
        assert!(state.with(|index| index.workload(&key)).is_none());
    }

    #[tokio::test]
    async fn a_conflict_is_a_failure_so_that_what_never_fits_is_tried_less_and_less() {
        let (state, key) = state(|_| scene::error(409, "Conflict"));
        let failed = look(&state, &key).await.unwrap_err();
        assert!(matches!(failed, kube::Error::Api(status) if status.code == 409));
    }

    #[tokio::test]
    async fn a_workload_that_is_not_found_is_no_longer_known_but_another_of_its_name_is() {
        let (gone, key) = state(|_| scene::error(404, "NotFound"));
        look(&gone, &key).await.unwrap();
        assert!(gone.with(|index| index.workload(&key)).is_none());
        let (renewed, key) = state(|state| {
            let (key, workload) = read_one(deployment("new", 1));
            state.with(|index| index.put_workload(key, Some(workload)));
            scene::error(404, "NotFound")
        });
        look(&renewed, &key).await.unwrap();
        let known = renewed.with(|index| index.workload(&key)).unwrap();
        assert_eq!(known.uid, "new");
    }

    #[test]
    fn a_refusal_by_admission_is_told_from_a_missing_right_and_from_trouble() {
        let webhook = "admission webhook \"pin.nival.dev\" denied the request: generation acme/api:13 is revoked";
        assert!(is_refusal(403, webhook) && is_refusal(400, webhook) && is_refusal(422, webhook));
        let policy = "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'y' denied request: no";
        assert!(is_refusal(422, policy));
        assert!(!is_refusal(503, webhook), "it could not decide");
        let right = "deployments.apps \"web\" is forbidden: User \"x\" cannot patch resource \"deployments\"";
        assert!(!is_refusal(403, right));
        assert!(!is_refusal(500, "failed calling webhook"));
    }
}
