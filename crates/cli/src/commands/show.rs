//! `nival show`: prints what one generation is, after its signature was checked.

use clap::Args;
use env_spec::Reference;
use serde::Serialize;

use crate::context::Context;
use crate::error::Outcome;
use crate::hub::TrustedHub;
use crate::output::{bytes, count, visible};

/// Shows a generation.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The generation: owner/name (the live one), owner/name:12 or owner/name@sha256:…
    reference: Reference,
    /// Print the whole record as JSON
    #[arg(long)]
    json: bool,
    /// Print only the manifest
    #[arg(long, conflicts_with = "json")]
    manifest: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    pin: String,
    /// Why it is revoked, if it is.
    revoked: Option<&'a str>,
    #[serde(flatten)]
    generation: &'a env_spec::generation::Generation,
}

/// Runs the command.
///
/// # Errors
/// Fails when there is no such generation or it is not signed by a trusted key.
pub(crate) async fn run(context: &Context, args: &ShowArgs) -> Outcome {
    let hub = TrustedHub::of(context, &args.reference)?;
    let published = hub.resolve(&args.reference).await?;
    let generation = &published.generation;
    let printer = context.printer;
    if args.manifest {
        return Ok(printer.raw(generation.manifest.as_bytes())?);
    }
    let owner = args.reference.environment.owner();
    let list = hub.revocations_for_show(owner, printer).await;
    let revoked = list.reason(published.pin.digest);
    if args.json {
        return printer.json(&Shown {
            pin: published.pin.to_string(),
            revoked,
            generation,
        });
    }
    let mut lines = vec![
        format!("generation  {}", published.pin),
        format!("created     {}", visible(&generation.created)),
        format!("author      {}", visible(&generation.author)),
        format!("message     {}", visible(&generation.message)),
    ];
    if let Some(reason) = revoked {
        lines.push(format!("revoked     {}", visible(reason)));
    }
    if let Some(parent) = generation.parent {
        lines.push(format!("parent      {parent}"));
    }
    for (system, one) in &generation.systems {
        lines.push(format!("{system}"));
        lines.push(format!("  environment  {}", one.environment));
        let paths = count(one.closure.len(), "store path", "store paths");
        lines.push(format!(
            "  closure      {paths}, {}",
            bytes(one.nar_bytes())
        ));
        let formats = one
            .sboms
            .keys()
            .map(|format| visible(format))
            .collect::<Vec<_>>();
        lines.push(format!("  sboms        {}", formats.join(", ")));
    }
    Ok(printer.data(lines.join("\n"))?)
}
