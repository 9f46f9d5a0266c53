//! What admission says of a workload: which pins it gets, and whether it may have them.

use std::collections::BTreeMap;
use std::time::Duration;

use env_spec::{Pin, Reference, System};
use futures::StreamExt as _;
use host::error::one_line;
use serde_json::Value;
use workload::Tracking;
use workload::pin::{self, Plan, Slot};
use workload::template::{self, Template};

use super::nodes::Nodes;
use super::review::{Refusal, Request, Verdict};
use crate::resolve::{ResolveError, Resolved, Resolver};

/// How many references are resolved at once.
const AT_ONCE: usize = 8;

/// Decides.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    pub(crate) resolver: Resolver,
    pub(crate) nodes: Nodes,
}

/// The answers to questions about references, by how they are written.
type Answers = BTreeMap<String, Result<Resolved, ResolveError>>;

impl Judge {
    /// Gives a workload its pins, the runtime class and the placeholder image.
    pub(crate) async fn mutate(&self, request: &Request, budget: Duration) -> Verdict {
        let plan = match Self::plan(request) {
            Ok(Some(plan)) => plan,
            Ok(None) => return Verdict::default(),
            Err(refusal) => return Verdict::refuse(refusal),
        };
        let wanted = plan.wanted();
        let references = wanted.iter().map(|(_, reference)| reference.clone());
        let answers = self.resolve(&request.namespace, references, budget).await;
        let systems = self.systems(request);
        let mut pins: BTreeMap<Slot, Pin> = BTreeMap::new();
        for (slot, reference) in wanted {
            match judged(&answers, &reference, &systems) {
                Ok(resolved) => pins.insert(slot, resolved.pin.clone()),
                Err(refusal) => return Verdict::refuse(refusal),
            };
        }
        let mut changed = request.object.clone();
        pin::apply(&mut changed, &plan.edits(&pins));
        Verdict {
            changed: Some(changed),
            warnings: plan.warnings().to_vec(),
            refusal: None,
        }
    }

    /// Refuses what no node would run.
    pub(crate) async fn validate(&self, request: &Request, budget: Duration) -> Verdict {
        let plan = match Self::plan(request) {
            Ok(Some(plan)) => plan,
            Ok(None) => return Verdict::default(),
            Err(refusal) => return Verdict::refuse(refusal),
        };
        // The node would say the same, but only in an event of a pod that never starts.
        if let Err(error) = pin::check(&request.object) {
            return Verdict::refuse(Refusal::invalid(one_line(&error)));
        }
        let kept = plan.kept().into_iter().map(|(_, pin)| Reference::from(pin));
        let unpinned: Vec<Reference> = plan.wanted().into_iter().map(|(_, one)| one).collect();
        let references: Vec<Reference> = kept.chain(unpinned.iter().cloned()).collect();
        let answers = self
            .resolve(&request.namespace, references.iter().cloned(), budget)
            .await;
        let systems = self.systems(request);
        let mut warnings = doubts(request);
        for reference in &references {
            match judged(&answers, reference, &systems) {
                Ok(_) if unpinned.contains(reference) => warnings.push(format!(
                    "{reference} has no pin: each pod gets what is live when it starts"
                )),
                Ok(_) => {}
                // Nodes check each pin anew, so that what cannot be judged now lets nothing in. Going back to an
                // earlier generation must not need the hub.
                Err(refusal) if refusal.is_transient => warnings.push(format!(
                    "{reference} could not be checked now, nodes will: {}",
                    refusal.message
                )),
                Err(refusal) => return Verdict::refuse(refusal),
            }
        }
        Verdict {
            warnings,
            ..Verdict::default()
        }
    }

    /// Returns what is to be done; nothing for what is none of Nival's business.
    fn plan(request: &Request) -> Result<Option<Plan>, Refusal> {
        let object = &request.object;
        let is_leaving = object
            .pointer("/metadata/deletionTimestamp")
            .is_some_and(|time| !time.is_null());
        if request.kind().is_none() || is_leaving || template::is_made_from_a_template(object) {
            return Ok(None);
        }
        match Plan::new(object, request.old_object()) {
            Ok(plan) => Ok(Some(plan)),
            Err(error) => Err(Refusal::invalid(one_line(&error))),
        }
    }

    fn systems(&self, request: &Request) -> Vec<System> {
        let template = request
            .kind()
            .and_then(|kind| Template::of(kind, &request.object));
        template.map_or_else(Vec::new, |template| self.nodes.systems_for(template))
    }

    async fn resolve(
        &self,
        namespace: &str,
        references: impl Iterator<Item = Reference>,
        budget: Duration,
    ) -> Answers {
        let mut distinct: Vec<Reference> = Vec::new();
        for reference in references {
            if !distinct.contains(&reference) {
                distinct.push(reference);
            }
        }
        let deadline = tokio::time::Instant::now() + budget;
        let questions = distinct.into_iter().map(|reference| async move {
            let question = self.resolver.resolve(namespace, &reference);
            let answer = tokio::time::timeout_at(deadline, question).await;
            let answer = answer.unwrap_or_else(|_elapsed| Err(self.resolver.gave_up(&reference)));
            (reference.to_string(), answer)
        });
        futures::stream::iter(questions)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }
}

/// Returns what is written about new generations and means nothing. It is no reason to refuse: what runs would not
/// take any other change either.
fn doubts(request: &Request) -> Vec<String> {
    let annotations = request.object.pointer("/metadata/annotations");
    let annotation = |name: &str| annotations?.get(name)?.as_str();
    let kind = request.kind();
    kind.map_or_else(Vec::new, |kind| Tracking::read(kind, annotation).doubts)
}

fn judged<'a>(
    answers: &'a Answers,
    reference: &Reference,
    systems: &[System],
) -> Result<&'a Resolved, Refusal> {
    let answer = answers
        .get(&reference.to_string())
        .expect("every reference was asked about");
    let checked = answer.as_ref().map_err(refusal)?;
    checked
        .check_systems(systems)
        .map_err(|error| refusal(&error))?;
    Ok(checked)
}

fn refusal(error: &ResolveError) -> Refusal {
    Refusal {
        message: one_line(error),
        reason: error.reason(),
        is_transient: error.is_transient(),
    }
}

/// Returns the object of a request in one word, for the log.
pub(crate) fn label(request: &Request) -> String {
    let text = |pointer| request.object.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name").or_else(|| text("/metadata/generateName"));
    let kind = request.kind().map_or("object", template::Kind::name);
    format!("{kind}/{}", name.unwrap_or("?"))
}
