//! `nival rollback`: makes an earlier generation live again, by a new signed pointer; no record changes.

use clap::Args;
use env_spec::generation::LivePointer;
use env_spec::{Reference, Signed};
use serde::Serialize;

use crate::context::{Context, now};
use crate::error::{CommandError, Outcome};
use crate::hub::TrustedHub;

/// Rolls back.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The environment, owner/name
    environment: Reference,
    /// The generation to make live (default: the one that was live before)
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    environment: String,
    number: u64,
    digest: String,
    sequence: u64,
    from: u64,
}

/// Runs the command.
///
/// # Errors
/// Fails when there is no such generation, its signature is not trusted, or somebody else moves the pointer meanwhile.
pub(crate) async fn run(context: &Context, args: &RollbackArgs) -> Outcome {
    let name = &args.environment.environment;
    let plain = Reference {
        number: None,
        digest: None,
        ..args.environment.clone()
    };
    let hub = TrustedHub::of(context, &plain)?;
    let key = context.keys().signing(&context.settings)?;
    let history = hub
        .client
        .history(name)
        .await
        .map_err(|error| hub.explain(error, &plain))?;
    let live = hub.live(name).await?.ok_or_else(|| {
        CommandError::user(format!("nothing of {name} is live yet"))
            .hint("publish it with `nival push`")
    })?;
    let number = match args.to.or(args.environment.number) {
        Some(number) => number,
        None => {
            let before = history
                .pointers
                .iter()
                .find(|pointer| pointer.number != live.number);
            before.map(|pointer| pointer.number).ok_or_else(|| {
                CommandError::user(format!(
                    "no generation of {name} was live before {}",
                    live.number
                ))
                .hint("choose one with --to NUMBER")
            })?
        }
    };
    let target = Reference {
        number: Some(number),
        ..plain
    };
    // Whoever signs a pointer vouches for what it points at.
    let published = hub.resolve(&target).await?;
    if number == live.number {
        context
            .printer
            .say(format!("{name}:{number} is live already."));
    }
    let pointer = if number == live.number {
        live.clone()
    } else {
        let pointer = LivePointer {
            environment: name.clone(),
            number,
            digest: published.pin.digest,
            sequence: live.sequence + 1,
            time: now(),
        };
        hub.client
            .put_live(name, &Signed::new(&pointer, &key)?)
            .await?;
        hub.remember(&pointer)?;
        context.printer.say(format!(
            "{name} is now at generation {number} (was {}).",
            live.number
        ));
        pointer
    };
    if args.json {
        return context.printer.json(&Done {
            environment: name.to_string(),
            number,
            digest: pointer.digest.to_string(),
            sequence: pointer.sequence,
            from: live.number,
        });
    }
    Ok(context.printer.data(published.pin.to_string())?)
}
