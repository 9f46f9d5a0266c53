//! `nival rollback`: makes an earlier generation live again, by a new signed pointer; no record changes.

use clap::Args;
use env_spec::generation::{LivePointer, RevocationList};
use env_spec::{Pin, Reference, Signed};
use serde::Serialize;

use crate::context::{Context, now};
use crate::error::{CommandError, ErrorKind, Outcome};
use crate::hub::{TrustedHub, require_not_revoked, successor};

/// Rolls back.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The environment, owner/name; or the generation to make live, owner/name:12 or owner/name@sha256:…
    environment: Reference,
    /// The generation to make live (default: the last one before the live one that was live and is not revoked)
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
    let wanted = wanted(&args.environment, args.to)?;
    let plain = Reference {
        number: None,
        digest: None,
        ..args.environment.clone()
    };
    let hub = TrustedHub::of(context, &plain)?;
    let key = context.keys().signing(&context.settings)?;
    let Some(live) = hub.live(name).await? else {
        // Tells an unknown or hidden environment from one where nothing is live.
        let known = hub.client.history(name).await;
        known.map_err(|error| hub.explain(error, &plain))?;
        return Err(CommandError::user(format!("nothing of {name} is live yet"))
            .hint("publish it with `nival push`"));
    };
    let by_default = wanted.is_none();
    let revoked = hub.revocations(name.owner()).await?;
    let target = match wanted {
        Some(target) => target,
        None => before(&hub, &plain, live.number, &revoked).await?,
    };
    // Whoever signs a pointer vouches for what it points at: the record says its number, not the hub or the user.
    let published = hub.resolve(&target).await?;
    let Pin { number, digest, .. } = published.pin;
    require_not_revoked(&revoked, &published.pin)?;
    if by_default && number >= live.number {
        return Err(CommandError::user(format!(
            "the hub gave {} as one before {}",
            published.pin, live.number
        )));
    }
    if number == live.number && digest != live.digest {
        return Err(CommandError::user(format!(
            "{} is another record than the live {}: two of one number were signed",
            published.pin,
            live.pin()
        )));
    }
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
            digest,
            sequence: successor(live.sequence, "move of the live pointer")?,
            time: now(),
        };
        hub.client
            .put_live(name, &Signed::new(&pointer, &key)?)
            .await?;
        if let Err(error) = hub.remember(&pointer) {
            context.printer.warn(format!(
                "cannot remember the live pointer: {}",
                error.lines().join(": ")
            ));
        }
        let generation = &published.generation;
        context.printer.say(format!(
            "{name} is now at generation {number} of {} by {} (was {}).",
            generation.created, generation.author, live.number
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

/// Returns the generation that the user names, by number, digest or both; `None` where neither is given.
fn wanted(given: &Reference, to: Option<u64>) -> Outcome<Option<Reference>> {
    if let (Some(to), Some(number)) = (to, given.number)
        && to != number
    {
        return Err(CommandError::with_kind(
            ErrorKind::Usage,
            format!("{given} and --to {to} name two generations"),
        ));
    }
    let target = Reference {
        number: to.or(given.number),
        ..given.clone()
    };
    let is_named = target.number.is_some() || target.digest.is_some();
    Ok(is_named.then_some(target))
}

/// Finds the last generation that was live, is older than the one that is, and may run, as the hub tells.
async fn before(
    hub: &TrustedHub,
    plain: &Reference,
    live: u64,
    revoked: &RevocationList,
) -> Outcome<Reference> {
    let history = hub
        .client
        .history(&plain.environment)
        .await
        .map_err(|error| hub.explain(error, plain))?;
    let pointer = history
        .pointers
        .iter()
        .find(|pointer| pointer.number < live && revoked.reason(pointer.digest).is_none())
        .ok_or_else(|| {
            CommandError::user(format!(
                "no generation of {} before {live} was ever live and may run",
                plain.environment
            ))
            .hint("choose one with --to NUMBER")
        })?;
    Ok(Reference {
        number: Some(pointer.number),
        digest: Some(pointer.digest),
        ..plain.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_digest_name_one_generation_or_are_refused() {
        let digest = env_spec::Digest::of(b"record");
        let named = |text: &str, to| wanted(&text.parse().unwrap(), to);
        assert_eq!(named("demo/app", None).unwrap(), None);
        let by_digest = named(&format!("demo/app@{digest}"), None).unwrap().unwrap();
        assert_eq!((by_digest.number, by_digest.digest), (None, Some(digest)));
        let both = named(&format!("demo/app@{digest}"), Some(2))
            .unwrap()
            .unwrap();
        assert_eq!((both.number, both.digest), (Some(2), Some(digest)));
        assert_eq!(
            named("demo/app:2", Some(2)).unwrap().unwrap().number,
            Some(2)
        );
        named("demo/app:2", Some(3)).unwrap_err();
    }
}
