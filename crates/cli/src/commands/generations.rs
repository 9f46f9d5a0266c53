//! `nival generations`: lists what was published of an environment, and which of it is live.

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
    #[serde(flatten)]
    history: &'a api::hub::history::History,
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
    if args.json {
        return context.printer.json(&Listing {
            live,
            history: &history,
        });
    }
    let rows: Vec<Vec<String>> = history
        .generations
        .iter()
        .map(|one| {
            let mark = if Some(one.number) == live { "live" } else { "" };
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
        &["NUMBER", "LIVE", "DIGEST", "CREATED", "AUTHOR", "MESSAGE"],
        &rows,
    )?)
}
