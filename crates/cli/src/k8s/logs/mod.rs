//! `logs`: how a pod's start went, stage by stage, by what the API and the node's agent remember of it.

mod stages;
mod timeline;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use workload::uses::Use;

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::k8s::agent_log::{Agent, Line};
use crate::k8s::change::get;
use crate::k8s::cluster::Cluster;
use crate::k8s::flags::{ClusterFlags, OutputFlag, checked_namespace};
use crate::k8s::kinds::{Kind, ObjectName, is_name};
use crate::k8s::logs::stages::Stage;
use crate::k8s::logs::timeline::Moment;
use crate::k8s::object;
use crate::k8s::show::{only_structured, structured};

/// Shows a start.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The pod: web-1 or pod/web-1
    #[arg(value_parser = pod_name)]
    pod: ObjectName,
    /// How it is printed.
    #[command(flatten)]
    output: OutputFlag,
}

/// Reads a pod's name, with its kind or without.
fn pod_name(text: &str) -> Result<ObjectName, String> {
    let name: ObjectName = if is_name(text) {
        ObjectName {
            kind: Kind::Pod,
            name: text.to_owned(),
        }
    } else {
        text.parse().map_err(|error| format!("{error}"))?
    };
    match name.kind {
        Kind::Pod => Ok(name),
        other => Err(format!(
            "a {} has no start of its own: name one of its pods",
            other.name()
        )),
    }
}

#[derive(Serialize)]
struct Report<'a> {
    pod: &'a str,
    node: Option<&'a str>,
    stages: &'a [Stage],
    timeline: &'a [Moment],
    /// What could not be looked at.
    unknown: Option<&'a str>,
}

/// Runs the command.
///
/// # Errors
/// Fails when there is no such pod, or the API server does not answer.
pub(crate) async fn run(
    context: &Context,
    cluster: &Cluster,
    flags: &ClusterFlags,
    args: &LogsArgs,
) -> Outcome {
    only_structured(args.output.output)?;
    let pod = get(cluster, &args.pod).await?;
    let uid = object::text(&pod, "/metadata/uid").unwrap_or_default();
    let fields = format!("involvedObject.uid={uid}");
    let namespace = object::namespace(&pod);
    let events = cluster
        .list_where(Kind::Event, Some(namespace), Some(&fields))
        .await?;
    let node = object::text(&pod, "/spec/nodeName");
    let nival_namespace = checked_namespace(&flags.nival_namespace)?;
    let (lines, unknown) = match agent_lines(cluster, nival_namespace, &pod).await {
        Ok(lines) => (lines, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let stages = stages::of(&pod, &lines);
    let timeline = timeline::of(&pod, &events, &lines);
    if args.output.output.is_some() {
        let report = Report {
            pod: &args.pod.name,
            node,
            stages: &stages,
            timeline: &timeline,
            unknown: unknown.as_deref(),
        };
        return structured(context.printer, args.output.output, &report);
    }
    let printer = context.printer;
    let rows: Vec<Vec<String>> = stages.iter().map(Stage::cells).collect();
    printer.table(&["STAGE", "STATE", "TOOK", "DETAIL"], &rows)?;
    printer.data("")?;
    let begun = timeline.first().map(|moment| moment.time);
    let rows: Vec<Vec<String>> = timeline.iter().map(|moment| moment.cells(begun)).collect();
    printer.table(&["AFTER", "FROM", "WHAT"], &rows)?;
    printer.say("The API tells times to the second, and forgets events after an hour.");
    if let Some(why) = unknown {
        printer.say(format!("How long its node fetched cannot be told: {why}."));
    }
    Ok(())
}

/// Returns what the agent of the pod's node wrote about it and about the generations that it waited for.
async fn agent_lines(
    cluster: &Cluster,
    nival_namespace: &str,
    pod: &Value,
) -> Result<Vec<Line>, String> {
    let node = object::text(pod, "/spec/nodeName").ok_or("it is on no node yet")?;
    let agent = Agent::of(cluster, nival_namespace, node)
        .await
        .map_err(|error| said(&error.into()))?
        .ok_or_else(|| {
            format!("namespace {nival_namespace} has no agent on node {node} (--nival-namespace names another)")
        })?;
    let since = object::text(pod, "/metadata/creationTimestamp");
    let lines = agent.lines(cluster, since).await.map_err(|error| {
        format!(
            "{} (`{}` shows the same)",
            said(&error.into()),
            agent.command()
        )
    })?;
    let (namespace, name) = (object::namespace(pod), object::name(pod));
    let of_pod: Vec<Line> = lines
        .iter()
        .filter(|line| line.is_of_pod(namespace, name))
        .cloned()
        .collect();
    let annotations = object::template_annotations(Kind::Pod, pod);
    let pins = Use::all_in(&annotations)
        .into_iter()
        .filter_map(|one| one.pin);
    let mut labels: Vec<String> = pins
        .chain(of_pod.iter().filter_map(|line| Some(line.prepared()?.1)))
        .map(|pin| format!("{}:{}", pin.environment, pin.number))
        .collect();
    labels.dedup();
    let is_fetch = |line: &Line| {
        let generation = line.fields.get("generation");
        // A generation of the log has its digest, or not.
        generation.is_some_and(|one| {
            let label = one.split('@').next().unwrap_or_default();
            labels.iter().any(|wanted| wanted == label)
        })
    };
    Ok(lines
        .into_iter()
        .filter(|line| line.is_of_pod(namespace, name) || is_fetch(line))
        .collect())
}

fn said(error: &CommandError) -> String {
    error.lines().join(": ")
}

/// Returns a time of the API or of a log.
fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}
