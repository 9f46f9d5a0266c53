//! `status`: which workloads run which generations, and how their rollouts stand.

use std::collections::BTreeSet;

use api::kubernetes::{Environment, Phase};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use workload::names::{PAUSED, TRACK, TRACK_LATEST};
use workload::pin::Slot;
use workload::rollout::Recall;
use workload::uses::Use;

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::k8s::cluster::Cluster;
use crate::k8s::flags::{AllNamespaces, OutputFlag};
use crate::k8s::inventory::{Inventory, Workload};
use crate::k8s::kinds::ObjectName;
use crate::k8s::object;
use crate::k8s::show::{self, Listed, age};

/// Shows workloads.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The workloads, such as deployment/web (default: all that run in environments)
    #[arg(value_name = "WORKLOAD")]
    workloads: Vec<ObjectName>,
    /// Whether all namespaces are meant.
    #[command(flatten)]
    all: AllNamespaces,
    /// How it is printed.
    #[command(flatten)]
    output: OutputFlag,
}

/// One environment of one workload.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    kind: &'static str,
    name: String,
    #[serde(skip)]
    object: String,
    container: Option<String>,
    environment: String,
    reference: String,
    generation: Option<String>,
    number: Option<u64>,
    live: Option<u64>,
    tracking: bool,
    paused: bool,
    phase: Option<String>,
    message: Option<String>,
    ready: i64,
    desired: i64,
    nodes: Vec<String>,
    created: Option<String>,
    #[serde(skip)]
    age: String,
}

impl Listed for Row {
    const COLUMNS: (&'static [&'static str], &'static [&'static str]) = (
        &[
            "WORKLOAD",
            "ENVIRONMENT",
            "GENERATION",
            "LIVE",
            "TRACK",
            "PHASE",
            "READY",
            "NODES",
            "AGE",
        ],
        &["REFERENCE", "PIN", "NODE NAMES", "MESSAGE"],
    );

    fn cells(&self) -> (Vec<String>, Vec<String>) {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "<none>".to_owned());
        let workload = match &self.container {
            Some(container) => format!("{}[{container}]", self.object),
            None => self.object.clone(),
        };
        let generation = self.number.map(|number| number.to_string());
        let track = match (self.tracking, self.paused) {
            (false, _) => "<none>",
            (true, false) => TRACK_LATEST,
            (true, true) => "paused",
        };
        let narrow = vec![
            workload,
            self.environment.clone(),
            or_none(generation.or_else(|| self.generation.clone())),
            self.live
                .map_or_else(|| "<unknown>".to_owned(), |live| live.to_string()),
            track.to_owned(),
            self.phase.clone().unwrap_or_else(|| "<unknown>".to_owned()),
            format!("{}/{}", self.ready, self.desired),
            self.nodes.len().to_string(),
            self.age.clone(),
        ];
        let wide = vec![
            self.reference.clone(),
            or_none(self.generation.clone()),
            or_none(Some(self.nodes.join(",")).filter(|names| !names.is_empty())),
            or_none(self.message.clone()),
        ];
        (narrow, wide)
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> String {
        self.object.clone()
    }
}

/// Runs the command.
///
/// # Errors
/// Fails when the API server does not answer, or a workload that was named does not run in an environment.
pub(crate) async fn run(context: &Context, cluster: &Cluster, args: &StatusArgs) -> Outcome {
    let all = args.all.all_namespaces;
    let namespace = (!all).then(|| cluster.namespace());
    let inventory = Inventory::read(cluster, context.printer, namespace).await?;
    for wanted in &args.workloads {
        if !inventory.workloads.iter().any(|one| one.name() == *wanted) {
            let place = namespace.map_or_else(
                || "the cluster".to_owned(),
                |name| format!("namespace {name}"),
            );
            return Err(CommandError::user(format!(
                "{place} has no {wanted} that runs in an environment"
            ))
            .hint("`kubectl nival status -A` lists all that do"));
        }
    }
    let now = Timestamp::now();
    let named = |one: &&Workload| args.workloads.is_empty() || args.workloads.contains(&one.name());
    let rows: Vec<Row> = inventory
        .workloads
        .iter()
        .filter(named)
        .flat_map(|workload| rows(&inventory, workload, now))
        .collect();
    if rows.is_empty() && args.output.output.is_none() {
        let place = namespace.map_or_else(String::new, |name| format!(" in {name} namespace"));
        context.printer.say(format!(
            "No workloads that run in environments found{place}."
        ));
        return Ok(());
    }
    show::list(context.printer, args.output.output, all, &rows)
}

fn rows(inventory: &Inventory, workload: &Workload, now: Timestamp) -> Vec<Row> {
    let nodes: BTreeSet<&str> = inventory
        .pods_of(workload)
        .filter_map(|pod| object::text(pod, "/spec/nodeName"))
        .collect();
    let row = |one: Use| row(inventory, workload, &nodes, one, now);
    workload.uses().into_iter().map(row).collect()
}

fn row(
    inventory: &Inventory,
    workload: &Workload,
    nodes: &BTreeSet<&str>,
    one: Use,
    now: Timestamp,
) -> Row {
    let (ready, desired) = object::readiness(workload.kind, &workload.object);
    let environment = one.environment.to_string();
    let container = match &one.slot {
        Slot::Pod => None,
        Slot::Container(name) => Some(name.clone()),
    };
    let generation = one.pin.as_ref().map(ToString::to_string);
    let known = inventory.environment(workload.namespace(), &environment);
    let status = known.and_then(|known| known.status.as_ref());
    let created = object::text(&workload.object, "/metadata/creationTimestamp");
    let annotation = |name: &str| object::annotation(&workload.object, name);
    Row {
        namespace: workload.namespace().to_owned(),
        kind: workload.kind.name(),
        name: object::name(&workload.object).to_owned(),
        object: workload.name().to_string(),
        number: one.pin.as_ref().map(|pin| pin.number),
        live: status.and_then(|status| Some(status.live.as_ref()?.number)),
        tracking: annotation(TRACK) == Some(TRACK_LATEST),
        paused: annotation(PAUSED) == Some("true") || known.is_some_and(|one| one.spec.suspend),
        phase: phase(known, workload, container.as_deref()),
        message: message(known, workload),
        ready,
        desired,
        nodes: nodes.iter().map(|&name| name.to_owned()).collect(),
        created: created.map(str::to_owned),
        age: age(created, now),
        environment,
        container,
        reference: one
            .reference
            .or_else(|| generation.clone())
            .unwrap_or_default(),
        generation,
    }
}

/// Returns how the rollout stands: as the operator's state says, else as it remembers on the workload itself.
fn phase(
    environment: Option<&Environment>,
    workload: &Workload,
    container: Option<&str>,
) -> Option<String> {
    let status = environment.and_then(|environment| environment.status.as_ref());
    let of_state = status.and_then(|status| {
        status.workloads.iter().find(|one| {
            one.kind == workload.kind.name()
                && one.name == object::name(&workload.object)
                && one.container.as_deref() == container
        })
    });
    if let Some(one) = of_state {
        return Some(shown_phase(one.phase).to_owned());
    }
    let memory = memory(&workload.object);
    memory.known().map(|memory| format!("{:?}", memory.phase))
}

/// Returns what the operator remembers on a workload.
pub(crate) fn memory(object: &Value) -> Recall {
    Recall::read(
        |name| object::annotation(object, name),
        |name| object.pointer("/metadata/labels")?.get(name)?.as_str(),
    )
}

/// Returns a phase as the API has it.
pub(crate) const fn shown_phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Stable => "Stable",
        Phase::Prefetching => "Prefetching",
        Phase::Progressing => "Progressing",
        Phase::Complete => "Complete",
        Phase::RolledBack => "RolledBack",
        Phase::Held => "Held",
    }
}

/// Returns what the operator says went wrong last with a workload.
fn message(environment: Option<&Environment>, workload: &Workload) -> Option<String> {
    let failure = environment?.status.as_ref()?.last_failure.as_ref()?;
    let (kind, name) = failure.workload.split_once('/')?;
    let same =
        kind.eq_ignore_ascii_case(workload.kind.name()) && name == object::name(&workload.object);
    same.then(|| format!("{}: {}", failure.reason, failure.message))
}
