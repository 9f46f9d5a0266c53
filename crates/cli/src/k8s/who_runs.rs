//! `who-runs`: which workloads have a package in what they run, by the bills of materials of their generations.

use std::collections::BTreeMap;

use clap::Args;
use env_spec::{Pin, Reference};
use serde::Serialize;
use serde_json::Value;
use workload::uses::Use;

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::hub::TrustedHub;
use crate::k8s::cluster::Cluster;
use crate::k8s::flags::{AllNamespaces, ClusterFlags, OutputFlag};
use crate::k8s::inventory::Inventory;
use crate::k8s::kinds::Kind;
use crate::k8s::object;
use crate::k8s::packages::parts;
use crate::k8s::running::known;
use crate::k8s::show::{self, Listed};
use crate::output::count;

/// Looks for a package.
#[derive(Debug, Args)]
pub(crate) struct WhoRunsArgs {
    /// The package: NAME or NAME@VERSION, of which the first parts are enough (openssl@3.0 is 3.0.15, too)
    #[arg(value_name = "PACKAGE")]
    package: Wanted,
    /// Whether all namespaces are meant.
    #[command(flatten)]
    all: AllNamespaces,
    /// How it is printed.
    #[command(flatten)]
    output: OutputFlag,
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    name: String,
    version: Option<String>,
}

/// Why a text names no package.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} names no package: expected NAME or NAME@VERSION")]
struct WantedError(String);

impl std::str::FromStr for Wanted {
    type Err = WantedError;

    fn from_str(text: &str) -> Result<Self, WantedError> {
        // A name may begin with an at-sign, as those of npm do.
        let (name, version) = match text.rsplit_once('@').filter(|(name, _)| !name.is_empty()) {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        if name.is_empty() || version.is_some_and(str::is_empty) {
            return Err(WantedError(text.chars().take(100).collect()));
        }
        Ok(Self {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        })
    }
}

impl Wanted {
    fn is(&self, name: &str, version: &str) -> bool {
        let fits = |wanted: &String| {
            version.strip_prefix(wanted.as_str()).is_some_and(|rest| {
                // 3.0 is not 3.01.
                rest.is_empty() || rest.starts_with(|next: char| !next.is_ascii_alphanumeric())
            })
        };
        self.name.eq_ignore_ascii_case(name) && self.version.as_ref().is_none_or(fits)
    }
}

/// A store path of the package in what a workload runs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    workload: String,
    environment: String,
    generation: String,
    number: u64,
    pods: Vec<String>,
    package: String,
    version: String,
    purl: String,
    path: String,
}

impl Listed for Row {
    const COLUMNS: (&'static [&'static str], &'static [&'static str]) = (
        &[
            "WORKLOAD",
            "ENVIRONMENT",
            "GENERATION",
            "PODS",
            "PACKAGE",
            "VERSION",
        ],
        &["STORE PATH", "POD NAMES"],
    );

    fn cells(&self) -> (Vec<String>, Vec<String>) {
        let narrow = vec![
            self.workload.clone(),
            self.environment.clone(),
            self.number.to_string(),
            self.pods.len().to_string(),
            self.package.clone(),
            self.version.clone(),
        ];
        let pods = match self.pods.is_empty() {
            true => "<none>".to_owned(),
            false => self.pods.join(","),
        };
        (narrow, vec![self.path.clone(), pods])
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> String {
        self.workload.clone()
    }
}

/// What runs where: by generation, then namespace and workload, its pods.
type Runs = BTreeMap<String, BTreeMap<(String, String), Vec<String>>>;

/// Runs the command.
///
/// # Errors
/// Fails when not everything that runs could be looked into: nobody is to believe that a package is nowhere.
pub(crate) async fn run(
    context: &Context,
    cluster: &Cluster,
    flags: &ClusterFlags,
    args: &WhoRunsArgs,
) -> Outcome {
    let all = args.all.all_namespaces;
    let namespace = (!all).then(|| cluster.namespace());
    let inventory = Inventory::read(cluster, context.printer, namespace).await?;
    let mut unknown = Vec::new();
    let runs = runs(cluster, flags, &inventory, &mut unknown).await?;
    let mut rows = Vec::new();
    for (pin, workloads) in &runs {
        match rows_of(context, pin, workloads, &args.package).await {
            Ok(found) => rows.extend(found),
            Err(error) => unknown.push(format!("{pin}: {}", error.lines().join(": "))),
        }
    }
    rows.sort_by(|one, other| {
        (&one.namespace, &one.workload, one.number, &one.path).cmp(&(
            &other.namespace,
            &other.workload,
            other.number,
            &other.path,
        ))
    });
    if rows.is_empty() && args.output.output.is_none() {
        let what = count(runs.len(), "generation", "generations");
        context
            .printer
            .say(format!("None of the {what} that run has it."));
    } else {
        show::list(context.printer, args.output.output, all, &rows)?;
    }
    if unknown.is_empty() {
        return Ok(());
    }
    for one in &unknown {
        context.printer.warn(format!("not looked into: {one}"));
    }
    let what = count(unknown.len(), "thing that runs was", "things that run were");
    Err(
        CommandError::user(format!("{what} not looked into, so the list may lack some"))
            .hint("the hub must be there, and the owners' keys trusted (`nival key trust`)"),
    )
}

/// Returns the generations of all pods, and those that templates name.
async fn runs(
    cluster: &Cluster,
    flags: &ClusterFlags,
    inventory: &Inventory,
    unknown: &mut Vec<String>,
) -> Outcome<Runs> {
    let namespace = crate::k8s::flags::checked_namespace(&flags.nival_namespace)?;
    let mut runs = Runs::new();
    let mut add = |pin: &Pin, place: (String, String), pod: Option<&str>| {
        let pods = runs
            .entry(pin.to_string())
            .or_default()
            .entry(place)
            .or_default();
        if let Some(pod) = pod.filter(|pod| !pods.iter().any(|one| one == pod)) {
            pods.push(pod.to_owned());
        }
    };
    for pod in inventory.pods.iter().filter(|pod| !is_over(pod)) {
        let place = (
            object::namespace(pod).to_owned(),
            inventory.workload_of(pod),
        );
        let name = object::name(pod);
        for one in Use::all_in(&object::template_annotations(Kind::Pod, pod)) {
            match known(cluster, namespace, pod, &one).await.pin() {
                Some(pin) => add(pin, place.clone(), Some(name)),
                None => unknown.push(format!(
                    "{} in pod/{name}, which has no pin",
                    one.environment
                )),
            }
        }
    }
    // A workload that is scaled to nothing would run its template's.
    for workload in inventory
        .workloads
        .iter()
        .filter(|one| one.kind != Kind::Pod)
    {
        let place = (workload.namespace().to_owned(), workload.name().to_string());
        for pin in workload.uses().iter().filter_map(|one| one.pin.as_ref()) {
            add(pin, place.clone(), None);
        }
    }
    Ok(runs)
}

fn is_over(pod: &Value) -> bool {
    matches!(
        object::text(pod, "/status/phase"),
        Some("Succeeded" | "Failed")
    )
}

async fn rows_of(
    context: &Context,
    pin: &str,
    workloads: &BTreeMap<(String, String), Vec<String>>,
    wanted: &Wanted,
) -> Outcome<Vec<Row>> {
    let pin: Pin = pin.parse()?;
    let reference = Reference::from(pin.clone());
    let hub = TrustedHub::of(context, &reference)?;
    let published = hub.resolve(&reference).await?;
    let mut found = Vec::new();
    let linux = |system: &&env_spec::System| system.as_str().ends_with("-linux");
    for system in published.generation.systems.keys().filter(linux) {
        for part in parts(&hub, &published, system).await? {
            if wanted.is(&part.name, &part.version) && !found.contains(&part) {
                found.push(part);
            }
        }
    }
    let row = |((namespace, workload), pods): (&(String, String), &Vec<String>)| {
        let row = |part: &crate::k8s::packages::Part| Row {
            namespace: namespace.clone(),
            workload: workload.clone(),
            environment: pin.environment.to_string(),
            generation: pin.to_string(),
            number: pin.number,
            pods: pods.clone(),
            package: part.name.clone(),
            version: part.version.clone(),
            purl: part.purl.clone(),
            path: part.path.clone(),
        };
        found.iter().map(row).collect::<Vec<_>>()
    };
    Ok(workloads.iter().flat_map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_by_their_first_parts() {
        for (text, name, version, is) in [
            ("openssl", "openssl", "3.0.15", true),
            ("OpenSSL", "openssl", "3.0.15", true),
            ("openssl", "openssl-legacy", "1", false),
            ("openssl@3", "openssl", "3.0.15", true),
            ("openssl@3.0", "openssl", "3.0.15", true),
            ("openssl@3.0", "openssl", "3.01", false),
            ("openssl@3.0.15", "openssl", "3.0.15", true),
            ("openssl@3.0.15", "openssl", "3.0.15-1", true),
            ("openssl@1", "openssl", "3", false),
            ("@scope/x@2", "@scope/x", "2.1", true),
            ("@scope/x", "@scope/x", "2.1", true),
        ] {
            let wanted: Wanted = text.parse().unwrap();
            assert_eq!(wanted.is(name, version), is, "{text} {name} {version}");
        }
        for text in ["", "x@"] {
            text.parse::<Wanted>().unwrap_err();
        }
    }
}
