//! `nival search`: looks for packages by name in the newest configured revision.

use clap::Args;
use serde::Serialize;

use crate::catalog;
use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::progress::Spinner;

/// Looks for packages.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Part of the package's name
    term: String,
    /// Show at most so many
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hit {
    package: String,
    version: String,
    revision: String,
    description: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Fails when the package set cannot be evaluated.
pub(crate) fn run(context: &Context, args: &SearchArgs) -> Outcome {
    let nix = context.nix();
    let system = context.system()?;
    let revision = context.settings.revisions.value.first().ok_or_else(|| {
        CommandError::user("no package set is configured")
            .hint("set `[catalog] revisions` in config.toml")
    })?;
    let spinner = Spinner::start(
        context.printer,
        format!("looking through {}", revision.name),
    );
    let names = catalog::facts(&nix, revision, &system, &[], true)?.names;
    let term = args.term.to_lowercase();
    let mut names: Vec<String> = names
        .into_iter()
        .filter(|name| name.to_lowercase().contains(&term))
        .collect();
    names.retain(|name| catalog::is_name(name));
    // The nearer the name is to the term, the more likely it is meant.
    names.sort_by_key(|name| (name.len(), name.clone()));
    let more = names.len().saturating_sub(args.limit);
    names.truncate(args.limit);
    // A dot in a name is no step of a path.
    let paths: Vec<String> = names
        .iter()
        .map(|name| {
            if name.contains('.') {
                format!("\"{name}\"")
            } else {
                name.clone()
            }
        })
        .collect();
    let mut facts = catalog::facts(&nix, revision, &system, &paths, false)?.packages;
    drop(spinner);
    let hits: Vec<Hit> = paths
        .into_iter()
        .filter_map(|path| {
            let one = facts.remove(&path)?;
            Some(Hit {
                package: path,
                version: one.version,
                revision: revision.name.clone(),
                description: one.description,
            })
        })
        .collect();
    if args.json {
        return context.printer.json(&hits);
    }
    if hits.is_empty() {
        return Err(CommandError::user(format!(
            "no package of {} has {:?} in its name",
            revision.name, args.term
        )));
    }
    let rows: Vec<Vec<String>> = hits
        .into_iter()
        .map(|hit| {
            vec![
                hit.package,
                hit.version,
                hit.description.unwrap_or_default(),
            ]
        })
        .collect();
    context
        .printer
        .table(&["PACKAGE", "VERSION", "DESCRIPTION"], &rows)?;
    if more > 0 {
        context
            .printer
            .say(format!("{more} more; narrow the term, or raise --limit."));
    }
    Ok(())
}
