//! `nival revoke`: puts a generation on its owner's signed list of what must not run any more, or takes it off.

use api::hub::error::ErrorCode;
use clap::Args;
use env_spec::generation::RevocationList;
use env_spec::{Digest, Reference};
use serde::Serialize;

use crate::context::{Context, now};
use crate::error::{CommandError, ErrorKind, Outcome};
use crate::hub::{TrustedHub, successor};

/// Revokes a generation.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The generation, owner/name:12 or owner/name@sha256:…
    generation: Reference,
    /// Why, in one line: everybody who may ask the hub can read it, and pods that do not start show it
    #[arg(long, value_name = "TEXT", required_unless_present = "undo")]
    reason: Option<String>,
    /// Let it run again
    #[arg(long, conflicts_with = "reason")]
    undo: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<'a> {
    generation: &'a str,
    digest: Digest,
    reason: Option<&'a str>,
    sequence: u64,
    changed: bool,
}

/// Runs the command.
///
/// # Errors
/// Fails when there is no such generation, there is no key to sign with, or the hub refuses.
pub(crate) async fn run(context: &Context, args: &RevokeArgs) -> Outcome {
    let name = &args.generation.environment;
    let printer = context.printer;
    let hub = TrustedHub::of(context, &args.generation)?;
    let key = context.keys().signing(&context.settings)?;
    let (label, digest) = which(context, &hub, &args.generation).await?;
    let reason = args.reason.as_deref().map(str::trim);

    let mut tried_before = false;
    let (list, changed) = loop {
        let present = hub.revocations(name.owner()).await?;
        if present.reason(digest) == reason {
            break (present, false);
        }
        let next = changed(&present, digest, reason)?;
        match hub.put_revocations(&next, &key, printer).await {
            Ok(()) => break (next, true),
            // Somebody else revoked something meanwhile; both must be on the list.
            Err(error)
                if error.hub_code() == Some(ErrorCode::RevocationsChanged) && !tried_before =>
            {
                tried_before = true;
            }
            Err(error) => return Err(error),
        }
    };
    match (reason, changed) {
        (Some(_), true) => printer.say(format!(
            "Revoked {label}. Nodes learn of it by themselves; containers that run are left alone."
        )),
        (Some(_), false) => printer.say(format!("{label} is revoked for this reason already.")),
        (None, true) => printer.say(format!("{label} may run again.")),
        (None, false) => printer.say(format!("{label} is not revoked.")),
    }
    if reason.is_some()
        && let Ok(Some(live)) = hub.live(name).await
        && live.digest == digest
    {
        printer.warn(format!(
            "{label} is live: who asks for {name} gets nothing that starts, until `nival rollback {name}` or a push"
        ));
    }
    if args.json {
        return printer.json(&Done {
            generation: &label,
            digest,
            reason: list.reason(digest),
            sequence: list.sequence,
            changed,
        });
    }
    Ok(printer.data(format!("{name}@{digest}"))?)
}

/// Finds out which generation is meant. One that is named by its digest alone is taken at its word: it may be just its record
/// that is gone, or signed by a key that nobody should trust.
async fn which(
    context: &Context,
    hub: &TrustedHub,
    generation: &Reference,
) -> Outcome<(String, Digest)> {
    let label = |number| format!("{}:{number}", generation.environment);
    match (generation.number, generation.digest) {
        (None, None) => Err(CommandError::with_kind(
            ErrorKind::Usage,
            format!("{generation} names no generation: what is live now may be another one soon"),
        )
        .hint(format!("name it by number, such as {}", label(12)))),
        (Some(_), _) => {
            let pin = hub.resolve(generation).await?.pin;
            Ok((label(pin.number), pin.digest))
        }
        (None, Some(digest)) => match hub.resolve(generation).await {
            Ok(published) => Ok((label(published.pin.number), digest)),
            Err(error) => {
                let why = error.lines().join(": ");
                context
                    .printer
                    .warn(format!("{generation} is taken at its word: {why}"));
                Ok((generation.to_string(), digest))
            }
        },
    }
}

/// Returns the list after the present one, on which the generation stands with this reason, or does not stand.
fn changed(
    present: &RevocationList,
    digest: Digest,
    reason: Option<&str>,
) -> Outcome<RevocationList> {
    let mut next = RevocationList {
        sequence: successor(present.sequence, "revocation list")?,
        time: now(),
        ..present.clone()
    };
    match reason {
        Some(reason) => next.revoked.insert(digest, reason.to_owned()),
        None => next.revoked.remove(&digest),
    };
    Ok(next)
}
