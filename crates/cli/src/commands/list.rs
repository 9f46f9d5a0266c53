//! `nival list`: lists the locked packages of the environment.

use clap::Args;
use env_spec::System;

use crate::context::Context;
use crate::error::{CommandError, Outcome};

/// Lists packages.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The system (default: this machine's)
    #[arg(long)]
    system: Option<System>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Fails when there is no lock yet.
pub(crate) fn run(context: &Context, args: &ListArgs) -> Outcome {
    let project = context.project()?;
    let system = match &args.system {
        Some(system) => system.clone(),
        None => context.system()?,
    };
    let lock = project.lock()?.ok_or_else(|| {
        CommandError::user("the environment is not locked yet").hint("run `nival lock`")
    })?;
    let locked = lock.systems.get(&system).ok_or_else(|| {
        CommandError::user(format!("the environment is not locked for {system}"))
            .hint("add it to `options.systems` in manifest.toml and run `nival lock`")
    })?;
    if args.json {
        return context.printer.json(&locked.packages);
    }
    let rows: Vec<Vec<String>> = locked
        .packages
        .iter()
        .map(|one| {
            vec![
                one.install_id.clone(),
                one.version.clone(),
                one.attr_path.clone(),
                one.licenses.join(", "),
                one.description.clone().unwrap_or_default(),
            ]
        })
        .collect();
    Ok(context.printer.table(
        &["ID", "VERSION", "PACKAGE", "LICENCE", "DESCRIPTION"],
        &rows,
    )?)
}
