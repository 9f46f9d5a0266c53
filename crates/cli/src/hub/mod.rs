//! Published environments as a user sees them: nothing that a hub says is believed without a trusted signature.

mod revocations;
mod seen;

use api::hub::error::ErrorCode;
use api::hub::{ClientError, HubClient};
use env_spec::generation::{Generation, LivePointer};
use env_spec::{EnvironmentName, Pin, Reference, TrustedKeys};

use crate::context::Context;
use crate::error::{CommandError, Outcome};
use crate::hub::seen::{Memory, Subject};

pub(crate) use crate::hub::revocations::require_not_revoked;

/// JSON numbers are exact up to here (2^53 - 1).
const LARGEST_NUMBER: u64 = (1 << 53) - 1;

/// A hub with what this user trusts of one owner.
#[derive(Debug)]
pub(crate) struct TrustedHub {
    /// The hub itself.
    pub(crate) client: HubClient,
    trusted: TrustedKeys,
    seen: Memory,
}

/// A generation whose signature was checked.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// Exactly which one.
    pub(crate) pin: Pin,
    /// The record.
    pub(crate) generation: Generation,
}

impl TrustedHub {
    /// Returns the hub that a reference means, for its owner's environments.
    ///
    /// # Errors
    /// Fails when the address or one of the user's keys is not valid.
    pub(crate) fn of(context: &Context, reference: &Reference) -> Outcome<Self> {
        let client = match &reference.hub {
            None => context.hub()?,
            Some(address) => context.other_hub(address)?,
        };
        Self::new(context, client, reference.environment.owner())
    }

    /// Returns the configured hub, for what is an owner's as a whole.
    ///
    /// # Errors
    /// Fails when the address or one of the user's keys is not valid.
    pub(crate) fn of_owner(context: &Context, owner: &str) -> Outcome<Self> {
        Self::new(context, context.hub()?, owner)
    }

    fn new(context: &Context, client: HubClient, owner: &str) -> Outcome<Self> {
        let trusted = context.keys().trusted(&context.settings, owner)?;
        let seen = Memory::in_folder(&context.settings.state, client.base());
        Ok(Self {
            client,
            trusted,
            seen,
        })
    }

    /// Returns the live pointer; `None` where nothing is published.
    ///
    /// # Errors
    /// Fails when it is not signed by a trusted key, or older than one seen before.
    pub(crate) async fn live(&self, name: &EnvironmentName) -> Outcome<Option<LivePointer>> {
        let signed = match self.client.live(name).await {
            Ok(signed) => signed,
            Err(error) if error.code() == Some(ErrorCode::NotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let pointer = LivePointer::believe(&signed, name, &self.trusted)?;
        self.seen.check(&pointer)?;
        Ok(Some(pointer))
    }

    /// Refuses to begin anew where a live pointer was seen before. A hub without a token hides private ones by right.
    ///
    /// # Errors
    /// Fails when one was seen.
    pub(crate) fn check_never_live(&self, name: &EnvironmentName) -> Outcome {
        match self.client.token() {
            Some(_) => self.seen.check_none(&Subject::pointer(name)),
            None => Ok(()),
        }
    }

    /// Returns the generation that a reference names.
    ///
    /// # Errors
    /// Fails when there is none, or its record is not signed by a trusted key or is another one.
    pub(crate) async fn resolve(&self, reference: &Reference) -> Outcome<Published> {
        let name = &reference.environment;
        let (number, digest) = match (reference.number, reference.digest) {
            (None, None) => {
                let live = self
                    .live(name)
                    .await?
                    .ok_or_else(|| unknown(reference, &self.client))?;
                (Some(live.number), Some(live.digest))
            }
            given => given,
        };
        let exact = Reference {
            number,
            digest,
            ..reference.clone()
        };
        let signed = self
            .client
            .generation(&exact)
            .await
            .map_err(|error| self.explain(error, reference))?;
        let (generation, pin) = Generation::believe(&signed, &exact, &self.trusted)?;
        let pin = Pin {
            hub: reference.hub.clone(),
            ..pin
        };
        Ok(Published { pin, generation })
    }

    /// Remembers a pointer that this user has just made.
    ///
    /// # Errors
    /// Fails when the state folder cannot be written.
    pub(crate) fn remember(&self, pointer: &LivePointer) -> Outcome {
        self.seen.check(pointer)
    }

    /// Returns the error of a call, with a better text where the thing is not there.
    pub(crate) fn explain(&self, error: ClientError, reference: &Reference) -> CommandError {
        match error.code() {
            Some(ErrorCode::NotFound) => unknown(reference, &self.client),
            _ => error.into(),
        }
    }
}

/// Returns the number after one: of a generation after another, or of a move of the live pointer.
///
/// # Errors
/// Fails past what JSON carries: some hub or key holder counted up to break the environment.
pub(crate) fn successor(number: u64, what: &str) -> Outcome<u64> {
    match number.checked_add(1) {
        Some(next) if next <= LARGEST_NUMBER => Ok(next),
        _ => Err(CommandError::user(format!(
            "no {what} comes after {number}: records count to {LARGEST_NUMBER}"
        ))
        .hint("publish under another name; whoever signed such a number broke this one")),
    }
}

fn unknown(reference: &Reference, client: &HubClient) -> CommandError {
    let (what, name) = match (reference.number, reference.digest) {
        (None, None) => ("environment", reference.environment.to_string()),
        _ => ("generation", reference.to_string()),
    };
    let error = CommandError::user(format!("the hub at {} has no {what} {name}", client.base()));
    let error = match what {
        "generation" => error.hint(format!(
            "`nival generations {}` lists what there is",
            reference.environment
        )),
        _ => error.hint("publish one with `nival push`"),
    };
    match client.token() {
        Some(_) => error,
        None => error.hint("a private one shows only to a token of its owner: set NIVAL_TOKEN"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_json_does() {
        assert_eq!(successor(0, "sequence").unwrap(), 1);
        assert_eq!(
            successor(LARGEST_NUMBER - 1, "sequence").unwrap(),
            LARGEST_NUMBER
        );
        for broken in [LARGEST_NUMBER, u64::MAX] {
            let error = successor(broken, "sequence").unwrap_err();
            assert!(
                error.lines()[0].contains("no sequence comes after"),
                "{:?}",
                error.lines()
            );
        }
    }
}
