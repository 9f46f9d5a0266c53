//! `sbom`: the bill of materials of what runs in a pod.

use clap::Args;
use env_spec::{Pin, Reference, System};
use serde_json::Value;
use workload::uses::Use;

use crate::commands::sbom::{Format, document, print};
use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::hub::TrustedHub;
use crate::k8s::change::get;
use crate::k8s::cluster::Cluster;
use crate::k8s::flags::ClusterFlags;
use crate::k8s::kinds::{Kind, ObjectName};
use crate::k8s::object;
use crate::k8s::running::{self, Known};
use crate::k8s::select::select;

/// Prints a bill of materials.
#[derive(Debug, Args)]
pub(crate) struct SbomArgs {
    /// The pod, such as pod/web-1; or a workload, for what its template says
    object: ObjectName,
    /// The container whose environment is meant, where there are several
    #[arg(long, short = 'c', value_name = "NAME")]
    container: Option<String>,
    /// The document's format
    #[arg(long, value_enum, default_value_t = Format::Cyclonedx)]
    format: Format,
    /// The system whose closure is meant (default: the one of the pod's node)
    #[arg(long)]
    system: Option<System>,
}

/// Runs the command.
///
/// # Errors
/// Fails when it cannot be told what runs, or the hub does not have its document.
pub(crate) async fn run(
    context: &Context,
    cluster: &Cluster,
    flags: &ClusterFlags,
    args: &SbomArgs,
) -> Outcome {
    let name = &args.object;
    let object = get(cluster, name).await?;
    let uses = Use::all_in(&object::template_annotations(name.kind, &object));
    if let Some(container) = &args.container {
        require_container(name, &object, container)?;
    }
    let (_, uses) = select(&name.to_string(), uses, args.container.as_deref())?;
    let pin = pin(context, cluster, flags, name, &object, &uses).await?;
    let reference = Reference::from(pin);
    let hub = TrustedHub::of(context, &reference)?;
    let published = hub.resolve(&reference).await?;
    let system = match &args.system {
        Some(system) => system.clone(),
        None => running::system(cluster, name.kind, &object, &published.generation).await?,
    };
    context
        .printer
        .say(format!("{name} runs {} on {system}.", published.pin));
    let document = document(&hub, &published, &system, args.format).await?;
    print(context, &document)
}

/// Refuses a container that is not there: a wrong name would show what another container runs.
fn require_container(name: &ObjectName, object: &Value, container: &str) -> Outcome {
    let known = object::containers(name.kind, object);
    if known.iter().any(|one| one == container) {
        return Ok(());
    }
    Err(
        CommandError::user(format!("{name} has no container {container:?}"))
            .hint(format!("it has: {}", known.join(", "))),
    )
}

async fn pin(
    context: &Context,
    cluster: &Cluster,
    flags: &ClusterFlags,
    name: &ObjectName,
    object: &Value,
    uses: &[Use],
) -> Outcome<Pin> {
    if let Some(pin) = uses.iter().find_map(|one| one.pin.clone()) {
        return Ok(pin);
    }
    let Some(place) = uses.first().filter(|_| name.kind == Kind::Pod) else {
        return Err(CommandError::user(format!("{name} has no pin"))
            .hint("ask for one of its pods: each may run another generation"));
    };
    let namespace = crate::k8s::flags::checked_namespace(&flags.nival_namespace)?;
    match running::known(cluster, namespace, object, place).await {
        Known::Pinned(pin) => Ok(pin),
        Known::Resolved(pin) => {
            context.printer.say(format!(
                "{name} has no pin: its node's agent resolved {} itself.",
                place.environment
            ));
            Ok(pin)
        }
        Known::Unknown(held) => {
            let error = CommandError::user(format!(
                "{name} has no pin, and nothing tells what its node made of {}",
                place.environment
            ));
            let error = match held.as_slice() {
                [] => error,
                held => {
                    let names: Vec<String> = held.iter().map(ToString::to_string).collect();
                    error.hint(format!("its node holds: {}", names.join(", ")))
                }
            };
            Err(error.hint(format!(
                "the container itself knows: kubectl exec {} -- env | grep NIVAL_ENVIRONMENT",
                name.name
            )))
        }
    }
}
