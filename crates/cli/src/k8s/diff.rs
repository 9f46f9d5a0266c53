//! `diff`: what would change for a workload with the live generation, or another.

use clap::Args;
use env_spec::{EnvironmentName, Pin, Reference, System};
use serde::Serialize;

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::hub::{Published, TrustedHub};
use crate::k8s::change::get;
use crate::k8s::cluster::Cluster;
use crate::k8s::flags::{Output, OutputFlag};
use crate::k8s::kinds::ObjectName;
use crate::k8s::object;
use crate::k8s::packages::{Change, Word, changes, parts};
use crate::k8s::running;
use crate::k8s::select::select;
use crate::k8s::show::structured;
use crate::output::{bytes, count};
use workload::uses::Use;

/// Compares.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The workload, such as deployment/web or pod/web-1
    workload: ObjectName,
    /// The generation to compare with: a number, or owner/name:12 (default: the live one)
    #[arg(long, value_name = "GENERATION")]
    to: Option<String>,
    /// The container whose environment is meant, where there are several
    #[arg(long, short = 'c', value_name = "NAME")]
    container: Option<String>,
    /// The system whose packages are meant (default: the one that the pods run on)
    #[arg(long)]
    system: Option<System>,
    /// How it is printed.
    #[command(flatten)]
    output: OutputFlag,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Comparison<'a> {
    workload: String,
    system: &'a System,
    from: String,
    to: String,
    paths_before: usize,
    paths_after: usize,
    paths_added: usize,
    paths_removed: usize,
    bytes_added: u64,
    packages: &'a [Change],
}

/// Runs the command.
///
/// # Errors
/// Fails when the workload is not pinned, or one of the generations cannot be had.
pub(crate) async fn run(context: &Context, cluster: &Cluster, args: &DiffArgs) -> Outcome {
    let name = &args.workload;
    let object = get(cluster, name).await?;
    let annotations = object::template_annotations(name.kind, &object);
    let uses = Use::all_in(&annotations);
    let (environment, uses) = select(&name.to_string(), uses, args.container.as_deref())?;
    let pin = uses.into_iter().find_map(|one| one.pin).ok_or_else(|| {
        CommandError::user(format!("{name} has no pin of {environment}"))
            .hint("nothing pinned it: `kubectl nival doctor` tells why, `kubectl nival pin` does it in git")
    })?;
    let target = target(&environment, args.to.as_deref())?;
    let hub = TrustedHub::of(context, &target)?;
    let before = hub.resolve(&reference_of(pin)).await?;
    let after = hub.resolve(&target).await?;
    let system = match &args.system {
        Some(system) => system.clone(),
        None => running::system(cluster, name.kind, &object, &before.generation).await?,
    };
    let packages = changes(
        &parts(&hub, &before, &system).await?,
        &parts(&hub, &after, &system).await?,
    );
    let comparison = comparison(name, &system, &before, &after, &packages)?;
    match args.output.output {
        Some(Output::Json | Output::Yaml) => {
            structured(context.printer, args.output.output, &comparison)
        }
        Some(Output::Name) => {
            let line = |one: &Change| context.printer.data(&one.package);
            Ok(packages.iter().try_for_each(line)?)
        }
        wide => print(context, &comparison, wide.is_some()),
    }
}

fn reference_of(pin: Pin) -> Reference {
    pin.into()
}

/// Returns the generation to compare with: a number is one of the same environment.
fn target(environment: &EnvironmentName, text: Option<&str>) -> Outcome<Reference> {
    let plain = Reference::from(environment.clone());
    let Some(text) = text else {
        return Ok(plain);
    };
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(format!("{environment}:{text}").parse()?);
    }
    Ok(text.parse()?)
}

fn comparison<'a>(
    name: &ObjectName,
    system: &'a System,
    before: &Published,
    after: &Published,
    packages: &'a [Change],
) -> Outcome<Comparison<'a>> {
    let (old, new) = (
        &before.generation.system(system)?.closure,
        &after.generation.system(system)?.closure,
    );
    let added: Vec<u64> = new
        .iter()
        .filter(|one| {
            !old.iter()
                .any(|known| known.nar_hash == one.nar_hash && known.path == one.path)
        })
        .map(|one| one.nar_size)
        .collect();
    let removed = old.iter().filter(|one| {
        !new.iter()
            .any(|known| known.nar_hash == one.nar_hash && known.path == one.path)
    });
    Ok(Comparison {
        workload: name.to_string(),
        system,
        from: before.pin.to_string(),
        to: after.pin.to_string(),
        paths_before: old.len(),
        paths_after: new.len(),
        paths_added: added.len(),
        paths_removed: removed.count(),
        bytes_added: added
            .iter()
            .fold(0, |sum, bytes| sum.saturating_add(*bytes)),
        packages,
    })
}

fn print(context: &Context, comparison: &Comparison<'_>, wide: bool) -> Outcome {
    let printer = context.printer;
    if comparison.from == comparison.to {
        printer.say(format!(
            "{} runs {} already.",
            comparison.workload, comparison.to
        ));
        return Ok(());
    }
    let versions = |list: &[String]| match list {
        [] => "<none>".to_owned(),
        list => list.join(","),
    };
    let row = |one: &Change| {
        let mut row = vec![
            one.change.as_str().to_owned(),
            one.package.clone(),
            versions(&one.from),
            versions(&one.to),
            delta(one.bytes_before, one.bytes_after),
        ];
        if wide {
            let signed = |sign: char, list: &[String]| -> Vec<String> {
                list.iter().map(|path| format!("{sign}{path}")).collect()
            };
            let mut paths = signed('-', &one.paths_removed);
            paths.extend(signed('+', &one.paths_added));
            row.push(paths.join(" "));
        }
        row
    };
    let mut head = vec!["CHANGE", "PACKAGE", "FROM", "TO", "SIZE"];
    if wide {
        head.push("STORE PATHS");
    }
    let mut changes: Vec<&Change> = comparison.packages.iter().collect();
    changes.sort_by_key(|one| one.change);
    let rows: Vec<Vec<String>> = changes.into_iter().map(row).collect();
    printer.table(&head, &rows)?;
    let of = |word: Word| {
        comparison
            .packages
            .iter()
            .filter(|one| one.change == word)
            .count()
    };
    printer.say(format!(
        "{} -> {} on {}: {} added, {} removed, {} changed, {} rebuilt; {} of {} new, {} to fetch.",
        comparison.from,
        comparison.to,
        comparison.system,
        of(Word::Added),
        of(Word::Removed),
        of(Word::Changed),
        of(Word::Rebuilt),
        comparison.paths_added,
        count(comparison.paths_after, "store path", "store paths"),
        bytes(comparison.bytes_added),
    ));
    Ok(())
}

/// Returns how much larger or smaller something became.
fn delta(before: u64, after: u64) -> String {
    match after.checked_sub(before) {
        Some(0) => "0 B".to_owned(),
        Some(more) => format!("+{}", bytes(more)),
        None => format!("-{}", bytes(before - after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_of_the_same_environment() {
        let name: EnvironmentName = "acme/api".parse().unwrap();
        let text = |to: Option<&str>| target(&name, to).unwrap().to_string();
        assert_eq!(text(None), "acme/api");
        assert_eq!(text(Some("7")), "acme/api:7");
        assert_eq!(text(Some("acme/other:2")), "acme/other:2");
        target(&name, Some("0")).unwrap_err();
        target(&name, Some("x")).unwrap_err();
    }

    #[test]
    fn sizes_have_signs() {
        assert_eq!(delta(5, 5), "0 B");
        assert!(delta(0, 2048).starts_with('+'));
        assert!(delta(2048, 0).starts_with('-'));
    }
}
