//! Which environments a template names, where, and which of them it has pinned.

use env_spec::{EnvironmentName, Pin, Reference};

use crate::annotations::Annotations;
use crate::names::NONE;
use crate::pin::Slot;

/// One place of a template that runs in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The place.
    pub slot: Slot,
    /// The reference as it stands there, without spaces around it; absent where a person wrote a pin alone.
    pub reference: Option<String>,
    /// The environment.
    pub environment: EnvironmentName,
    /// The hub's address, where it is not the configured one.
    pub hub: Option<String>,
    /// Whether the reference leaves the generation open.
    pub floating: bool,
    /// The pin beside it.
    pub pin: Option<Pin>,
    /// Whether it is said what the pin was made from.
    pub has_pinned_from: bool,
}

impl Use {
    /// Returns every place that runs in an environment. What cannot be understood is left out: no node runs it.
    #[must_use]
    pub fn all_in(annotations: &Annotations) -> Vec<Self> {
        let slots = Slot::all_in(annotations).into_iter();
        slots
            .filter_map(|slot| Self::in_slot(slot, annotations))
            .collect()
    }

    fn in_slot(slot: Slot, annotations: &Annotations) -> Option<Self> {
        let text = |name: &str| annotations.get(name).map(|value| value.trim());
        let pin: Option<Pin> = text(&slot.generation()).and_then(|pin| pin.parse().ok());
        let has_pinned_from = annotations.contains_key(&slot.pinned_from());
        let reference = match text(&slot.environment()) {
            Some(NONE) => return None,
            Some(reference) => Some(reference.to_owned()),
            // What was pinned from a reference that is gone means nothing any more.
            None if has_pinned_from => return None,
            None => None,
        };
        let parsed: Reference = match &reference {
            Some(reference) => reference.parse().ok()?,
            None => pin.clone()?.into(),
        };
        Some(Self {
            slot,
            reference,
            floating: parsed.number.is_none() && parsed.digest.is_none(),
            environment: parsed.environment,
            hub: parsed.hub,
            pin,
            has_pinned_from,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(pairs: &[(&str, &str)]) -> Vec<Use> {
        let annotations = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Use::all_in(&annotations.collect())
    }

    #[test]
    fn places_are_found_with_their_pins() {
        let pin = format!("acme/api:12@sha256:{}", "0".repeat(64));
        let found = uses(&[
            ("nival.dev/environment", " acme/api "),
            ("nival.dev/generation", &pin),
            ("nival.dev/pinned-from", "acme/api"),
            ("environment.nival.dev/web", "acme/web:3"),
            ("environment.nival.dev/log", "none"),
            ("generation.nival.dev/log", &pin),
            ("generation.nival.dev/by-hand", &pin),
            ("generation.nival.dev/left-over", &pin),
            ("pinned-from.nival.dev/left-over", "acme/api"),
        ]);
        let said: Vec<_> = found
            .iter()
            .map(|one| {
                (
                    one.slot.generation(),
                    one.environment.to_string(),
                    one.floating,
                    one.pin.is_some(),
                    one.has_pinned_from,
                )
            })
            .collect();
        let row = |slot: &str, environment: &str, floating, pinned, from| {
            (
                slot.to_owned(),
                environment.to_owned(),
                floating,
                pinned,
                from,
            )
        };
        assert_eq!(
            said,
            [
                row("nival.dev/generation", "acme/api", true, true, true),
                row(
                    "generation.nival.dev/by-hand",
                    "acme/api",
                    false,
                    true,
                    false
                ),
                row("generation.nival.dev/web", "acme/web", false, false, false),
            ]
        );
        assert_eq!(found[0].reference.as_deref(), Some("acme/api"));
    }

    #[test]
    fn what_cannot_be_understood_is_left_out() {
        assert_eq!(uses(&[("nival.dev/environment", "Acme/API:x")]), []);
        assert_eq!(uses(&[("nival.dev/generation", "acme/api")]), []);
        let unpinned = uses(&[
            ("nival.dev/environment", "acme/api"),
            ("nival.dev/generation", "x"),
        ]);
        assert_eq!(unpinned[0].pin, None);
    }
}
