//! `nival generations`: lists what was published of an environment, which of it is live, and which revoked.

use api::hub::history::{GenerationSummary, PointerSummary};
use clap::Args;
use env_spec::Reference;
use serde::Serialize;

use crate::context::Context;
use crate::error::Outcome;
use crate::hub::TrustedHub;

/// Lists generations.
#[derive(Debug, Args)]
pub(crate) struct GenerationsArgs {
    /// The environment, owner/name
    environment: Reference,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing<'a> {
    live: Option<u64>,
    generations: Vec<Row<'a>>,
    pointers: &'a [PointerSummary],
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    generation: &'a GenerationSummary,
    /// Why it is revoked, if it is.
    revoked: Option<&'a str>,
}

/// Runs the command.
///
/// # Errors
/// Fails when the hub does not know the environment.
pub(crate) async fn run(context: &Context, args: &GenerationsArgs) -> Outcome {
    let hub = TrustedHub::of(context, &args.environment)?;
    let name = &args.environment.environment;
    let history = hub
        .client
        .history(name)
        .await
        .map_err(|error| hub.explain(error, &args.environment))?;
    let live = history.pointers.first().map(|pointer| pointer.number);
    let list = hub
        .revocations_for_show(name.owner(), context.printer)
        .await;
    if args.json {
        let row = |generation| Row {
            generation,
            revoked: list.reason(generation.digest),
        };
        return context.printer.json(&Listing {
            live,
            generations: history.generations.iter().map(row).collect(),
            pointers: &history.pointers,
        });
    }
    let rows: Vec<Vec<String>> = history
        .generations
        .iter()
        .map(|one| {
            let is_revoked = list.reason(one.digest).is_some();
            let mark = match (Some(one.number) == live, is_revoked) {
                (true, true) => "live, revoked",
                (true, false) => "live",
                (false, true) => "revoked",
                (false, false) => "",
            };
            let digest: String = one.digest.hex().chars().take(12).collect();
            let fields = [
                one.number.to_string(),
                mark.into(),
                digest,
                one.created.clone(),
                one.author.clone(),
            ];
            fields.into_iter().chain([one.message.clone()]).collect()
        })
        .collect();
    Ok(context.printer.table(
        &["NUMBER", "STATE", "DIGEST", "CREATED", "AUTHOR", "MESSAGE"],
        &rows,
    )?)
}
