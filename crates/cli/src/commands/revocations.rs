//! `nival revocations`: lists what an owner revoked, after the list's signature was checked.

use std::collections::BTreeMap;

use clap::Args;
use env_spec::{Digest, EnvironmentName};
use serde::Serialize;

use crate::context::Context;
use crate::error::Outcome;
use crate::hub::TrustedHub;

/// Lists revoked generations.
#[derive(Debug, Args)]
pub(crate) struct RevocationsArgs {
    /// The owner
    #[arg(value_parser = owner)]
    owner: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing<'a> {
    owner: &'a str,
    sequence: u64,
    time: &'a str,
    revoked: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    /// Where the hub still knows it.
    generation: Option<String>,
    digest: Digest,
    reason: &'a str,
}

fn owner(text: &str) -> Result<String, String> {
    match EnvironmentName::new(text, "any") {
        Ok(name) => Ok(name.owner().to_owned()),
        Err(_) => Err("expected the name of an owner, such as acme".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// Fails when the list is not signed by a trusted key, or older than one seen before.
pub(crate) async fn run(context: &Context, args: &RevocationsArgs) -> Outcome {
    let hub = TrustedHub::of_owner(context, &args.owner)?;
    let list = hub.revocations(&args.owner).await?;
    let names = match list.revoked.is_empty() {
        true => BTreeMap::new(),
        false => names(&hub, &args.owner).await?,
    };
    let revoked: Vec<Row<'_>> = list
        .revoked
        .iter()
        .map(|(digest, reason)| Row {
            generation: names.get(digest).cloned(),
            digest: *digest,
            reason,
        })
        .collect();
    let printer = context.printer;
    if args.json {
        return printer.json(&Listing {
            owner: &list.owner,
            sequence: list.sequence,
            time: &list.time,
            revoked,
        });
    }
    if revoked.is_empty() {
        printer.say(format!("{} has revoked nothing.", args.owner));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = revoked
        .into_iter()
        .map(|row| {
            let generation = row.generation.unwrap_or_default();
            vec![generation, row.digest.to_string(), row.reason.to_owned()]
        })
        .collect();
    Ok(printer.table(&["GENERATION", "DIGEST", "REASON"], &rows)?)
}

/// Returns what the hub calls the owner's generations. It only helps to read the list, which goes by digests.
async fn names(hub: &TrustedHub, owner: &str) -> Outcome<BTreeMap<Digest, String>> {
    let mut names = BTreeMap::new();
    for one in hub.client.environments().await?.environments {
        let name = one.environment;
        if name.owner() != owner {
            continue;
        }
        for generation in hub.client.history(&name).await?.generations {
            names.insert(generation.digest, format!("{name}:{}", generation.number));
        }
    }
    Ok(names)
}
