//! `init`: prints manifests of a workload that runs in an environment.

use clap::{Args, ValueEnum};
use env_spec::Reference;
use serde_json::{Value, json};
use workload::names::{ENVIRONMENT, PLACEHOLDER_IMAGE, RUNTIME_CLASS, TRACK, TRACK_LATEST};

use crate::context::Context;
use crate::error::{CommandError, ErrorKind, Outcome};
use crate::k8s::flags::{Output, OutputFlag};
use crate::k8s::kinds::is_name;
use crate::k8s::pin;
use crate::k8s::show::only_structured;

/// Prints manifests.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The environment: owner/name (the live generation), owner/name:12, …
    environment: Reference,
    /// What is to run it
    #[arg(long, value_enum, default_value_t = What::Deployment)]
    kind: What,
    /// The workload's name (default: the environment's)
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// How many pods
    #[arg(long, default_value_t = 1)]
    replicas: u32,
    /// The port that the program listens on; a Service is added
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// When a CronJob runs
    #[arg(long, value_name = "CRON", default_value = "0 3 * * *")]
    schedule: String,
    /// How large the volume of a StatefulSet is, which appears at /data
    #[arg(long, value_name = "SIZE", default_value = "1Gi")]
    storage: String,
    /// Roll out each generation that is made live
    #[arg(long)]
    track: bool,
    /// Ask the hub, and write the pin
    #[arg(long)]
    pin: bool,
    /// How it is printed: yaml (the default) or json
    #[command(flatten)]
    output: OutputFlag,
    /// The command, after `--`
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// A kind of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Pods that are all the same
    Deployment,
    /// Pods with names and volumes of their own
    Statefulset,
    /// One pod on each node
    Daemonset,
    /// Runs to its end
    Job,
    /// Runs by the clock
    Cronjob,
}

fn name(text: &str) -> Result<String, String> {
    match is_name(text) && !text.contains('.') && text.len() <= 63 {
        true => Ok(text.to_owned()),
        false => Err("expected at most 63 letters, digits and '-'".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// Fails for flags that mean nothing together, and when the hub cannot be asked for a pin.
pub(crate) async fn run(context: &Context, args: &InitArgs) -> Outcome {
    only_structured(args.output.output)?;
    let runs_for_ever = !matches!(args.kind, What::Job | What::Cronjob);
    if args.track && args.kind == What::Job {
        return Err(CommandError::with_kind(
            ErrorKind::Usage,
            "--track means nothing for a Job: its template never changes",
        ));
    }
    if args.track && (args.environment.number.is_some() || args.environment.digest.is_some()) {
        return Err(CommandError::with_kind(
            ErrorKind::Usage,
            "--track needs a reference without a number: owner/name",
        ));
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => args.environment.environment.name().replace(['_', '.'], "-"),
    };
    let mut objects = vec![workload(args, &name)];
    if let Some(port) = args.port.filter(|_| runs_for_ever) {
        objects.push(service(args, &name, port));
    }
    let mut text = String::new();
    for (index, object) in objects.iter().enumerate() {
        if args.output.output == Some(Output::Json) {
            text.push_str(&serde_json::to_string_pretty(object)?);
            text.push('\n');
            continue;
        }
        if index > 0 {
            text.push_str("---\n");
        }
        text.push_str(&serde_saphyr::to_string(object)?);
    }
    if args.pin {
        text = pin::pinned(context, &text).await?;
    }
    Ok(context.printer.raw(text.as_bytes())?)
}

fn workload(args: &InitArgs, name: &str) -> Value {
    let labels = json!({"app.kubernetes.io/name": name});
    let (version, kind) = match args.kind {
        What::Deployment => ("apps/v1", "Deployment"),
        What::Statefulset => ("apps/v1", "StatefulSet"),
        What::Daemonset => ("apps/v1", "DaemonSet"),
        What::Job => ("batch/v1", "Job"),
        What::Cronjob => ("batch/v1", "CronJob"),
    };
    let mut metadata = json!({"name": name, "labels": labels});
    if args.track {
        metadata["annotations"] = json!({(TRACK): TRACK_LATEST});
    }
    let template = template(args, &labels);
    let selector = json!({"matchLabels": labels});
    let spec = match args.kind {
        What::Deployment => {
            json!({"replicas": args.replicas, "selector": selector, "template": template})
        }
        What::Daemonset => json!({"selector": selector, "template": template}),
        What::Statefulset => json!({
            "serviceName": name,
            "replicas": args.replicas,
            "selector": selector,
            "template": template,
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": args.storage}},
                },
            }],
        }),
        What::Job => json!({"backoffLimit": 3, "template": template}),
        What::Cronjob => json!({
            "schedule": args.schedule,
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": {"backoffLimit": 3, "template": template}},
        }),
    };
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
}

/// Returns the pod template: as Pod Security's `restricted` wants it, since an environment needs nothing more.
fn template(args: &InitArgs, labels: &Value) -> Value {
    let mut container = json!({
        "name": "main",
        "image": PLACEHOLDER_IMAGE,
        "command": args.command,
    });
    if let Some(port) = args.port {
        container["ports"] = json!([{"name": "main", "containerPort": port}]);
        container["readinessProbe"] = json!({"tcpSocket": {"port": "main"}});
    }
    if args.kind == What::Statefulset {
        container["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    }
    container["securityContext"] = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
    });
    let mut spec = json!({"runtimeClassName": RUNTIME_CLASS});
    if matches!(args.kind, What::Job | What::Cronjob) {
        spec["restartPolicy"] = json!("Never");
    }
    spec["securityContext"] = json!({
        "runAsNonRoot": true,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    spec["containers"] = json!([container]);
    json!({
        "metadata": {
            "labels": labels,
            "annotations": {(ENVIRONMENT): args.environment.to_string()},
        },
        "spec": spec,
    })
}

fn service(args: &InitArgs, name: &str, port: u16) -> Value {
    let labels = json!({"app.kubernetes.io/name": name});
    let mut spec = json!({
        "selector": labels,
        "ports": [{"name": "main", "port": port, "targetPort": "main"}],
    });
    // The pods of a StatefulSet are asked by their own names.
    if args.kind == What::Statefulset {
        spec["clusterIP"] = json!("None");
    }
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "labels": labels}, "spec": spec,
    })
}
