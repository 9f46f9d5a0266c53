//! What the API server says of Nival's parts.

use api::kubernetes::Environment;
use serde_json::Value;

use super::{Check, State};
use crate::k8s::cluster::Cluster;
use crate::k8s::kinds::Kind;
use crate::k8s::object;

/// Nival's kinds, as their definitions are named.
const DEFINITIONS: [&str; 2] = ["environments.nival.dev", "nivalnodes.nival.dev"];
/// The Deployment of the controller.
const CONTROLLER: &str = "nival-controller";
/// The ConfigMap with the nodes' configuration, and its key.
const CONFIGURATION: (&str, &str) = ("nival", "agent.toml");
const INSTALL: &str =
    "install Nival: `helm install nival` of the chart, or `kubectl apply` of its manifests";

pub(super) async fn api_server(cluster: &Cluster) -> Vec<Check> {
    const CHECK: &str = "API server";
    vec![match cluster.version().await {
        Ok(version) => Check::ok(CHECK, format!("{version} at {}", cluster.address())),
        Err(error) => Check::of_error(CHECK, &error),
    }]
}

pub(super) async fn definitions(cluster: &Cluster) -> Vec<Check> {
    let mut checks = Vec::new();
    for name in DEFINITIONS {
        let check = format!("definition of {name}");
        let found = cluster
            .find(Kind::CustomResourceDefinition, None, name)
            .await;
        checks.push(match found {
            Ok(Some(definition)) => served(&check, &definition),
            Ok(None) => Check::fail(&check, "it is not there", INSTALL),
            Err(error) => Check::of_error(&check, &error),
        });
    }
    checks
}

fn served(check: &str, definition: &Value) -> Check {
    let version = api::kubernetes::VERSION;
    let versions = object::list(definition, "/spec/versions");
    let served = versions.iter().any(|one| {
        object::text(one, "/name") == Some(version)
            && one.get("served").and_then(Value::as_bool) == Some(true)
    });
    let established = object::condition(definition, "Established")
        .is_some_and(|condition| object::text(condition, "/status") == Some("True"));
    match (served, established) {
        (true, true) => Check::ok(check, format!("{version} is served")),
        (false, _) => Check::fail(
            check,
            format!("it has no version {version}"),
            "install the Nival that this program belongs to, or use the program of that one",
        ),
        (true, false) => Check::fail(
            check,
            "the API server has not taken it yet",
            format!("kubectl describe crd {}", object::name(definition)),
        ),
    }
}

pub(super) async fn controller(cluster: &Cluster, namespace: &str) -> Check {
    const CHECK: &str = "controller";
    let found = cluster
        .find(Kind::Deployment, Some(namespace), CONTROLLER)
        .await;
    let deployment = match found {
        Ok(Some(deployment)) => deployment,
        Ok(None) => {
            let text = format!("namespace {namespace} has no Deployment {CONTROLLER}");
            return Check::fail(
                CHECK,
                text,
                format!("{INSTALL}; or name its namespace with --nival-namespace"),
            );
        }
        Err(error) => return Check::of_error(CHECK, &error),
    };
    let (ready, desired) = object::readiness(Kind::Deployment, &deployment);
    let image = object::text(&deployment, "/spec/template/spec/containers/0/image");
    let text = format!(
        "{ready} of {desired} replicas are ready ({})",
        image.unwrap_or("no image")
    );
    let look =
        format!("kubectl -n {namespace} describe pods -l app.kubernetes.io/component=controller");
    match ready {
        0 => Check::fail(CHECK, text, look),
        ready if ready < desired => Check::warn(CHECK, text, look),
        _ => Check::ok(CHECK, text),
    }
}

pub(super) async fn runtime_class(cluster: &Cluster) -> Check {
    const CHECK: &str = "runtime class";
    let name = workload::names::RUNTIME_CLASS;
    match cluster.find(Kind::RuntimeClass, None, name).await {
        Ok(Some(class)) => match object::text(&class, "/handler") {
            Some(handler) if handler == name => {
                let label = format!(
                    "/scheduling/nodeSelector/{}",
                    workload::names::NODE.replace('/', "~1")
                );
                if object::text(&class, &label).is_some() {
                    return Check::ok(CHECK, format!("{name}, on nodes that are ready for it"));
                }
                Check::warn(
                    CHECK,
                    format!("{name} does not keep pods away from nodes that are not ready"),
                    format!(
                        "add the nodeSelector {}: ready to it",
                        workload::names::NODE
                    ),
                )
            }
            other => Check::fail(
                CHECK,
                format!("{name} has the handler {:?}", other.unwrap_or_default()),
                format!("its handler must be {name}: {INSTALL}"),
            ),
        },
        Ok(None) => Check::fail(CHECK, format!("there is no {name}"), INSTALL),
        Err(error) => Check::of_error(CHECK, &error),
    }
}

/// Returns a line for each environment that is not as it should be, or one for all.
pub(super) async fn environments(cluster: &Cluster) -> Vec<Check> {
    const CHECK: &str = "environments";
    let objects = match cluster.list(Kind::Environment, None).await {
        Ok(objects) => objects,
        // That there is no such kind was said already.
        Err(error) if error.is_not_found() => return Vec::new(),
        Err(error) => return vec![Check::of_error(CHECK, &error)],
    };
    let total = objects.len();
    let failing: Vec<Check> = objects
        .into_iter()
        .filter_map(|object| serde_json::from_value::<Environment>(object).ok())
        .filter_map(|environment| not_ready(&environment))
        .collect();
    if failing.is_empty() {
        return vec![Check::ok(CHECK, format!("{total} in use, none in trouble"))];
    }
    failing
}

fn not_ready(environment: &Environment) -> Option<Check> {
    let status = environment.status.as_ref()?;
    let bad = status
        .conditions
        .iter()
        .find(|one| matches!(one.type_.as_str(), "Ready" | "Resolved") && one.status == "False")?;
    let namespace = environment
        .metadata
        .namespace
        .as_deref()
        .unwrap_or_default();
    let name = environment.metadata.name.as_deref().unwrap_or_default();
    Some(Check::warn(
        &format!("environment {}", environment.spec.environment),
        format!("{} in namespace {namespace}: {}", bad.reason, bad.message),
        format!("kubectl -n {namespace} describe nenv {name}"),
    ))
}

pub(super) async fn configuration(cluster: &Cluster, namespace: &str) -> Check {
    const CHECK: &str = "configuration";
    let (name, key) = CONFIGURATION;
    let map = match cluster.find(Kind::ConfigMap, Some(namespace), name).await {
        Ok(Some(map)) => map,
        Ok(None) => {
            let text = format!("namespace {namespace} has no ConfigMap {name}");
            return Check::fail(CHECK, text, INSTALL);
        }
        Err(error) => return Check::of_error(CHECK, &error),
    };
    let edit = format!("kubectl -n {namespace} edit configmap {name}");
    let files = object::texts(&map, "/data");
    let Some(text) = files.get(key) else {
        return Check::fail(CHECK, format!("ConfigMap {name} has no {key}"), edit);
    };
    let file: api::node::ConfigFile = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            let message = error
                .to_string()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            return Check::fail(CHECK, format!("{key} is not valid: {message}"), edit);
        }
    };
    let trusted = file.trusted();
    let wrong = trusted
        .as_ref()
        .err()
        .cloned()
        .or_else(|| file.policy().err())
        .or_else(|| file.credentials().err());
    if let Some(wrong) = wrong {
        return Check::fail(CHECK, format!("{key} is not valid: {wrong}"), edit);
    }
    let Some(hub) = file.hub else {
        return Check::fail(CHECK, format!("{key} names no hub"), edit);
    };
    if trusted.is_ok_and(|keys| keys.iter().next().is_none()) {
        return Check::fail(
            CHECK,
            format!("{key} trusts no key, so no generation is believed"),
            format!("add the owners' public keys to [trust]: {edit}"),
        );
    }
    Check::new(CHECK, State::Ok, format!("nodes ask the hub at {hub}"))
}
