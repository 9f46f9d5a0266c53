//! One place of a template that names an environment, and what becomes of its pin.

use std::fmt;

use env_spec::{Digest, Pin, Reference};

use crate::annotations::{AnnotationError, Annotations, check_agreement, parse};
use crate::names::{
    ENVIRONMENT, ENVIRONMENT_OF, GENERATION, GENERATION_OF, NONE, PINNED_FROM, PINNED_FROM_OF,
    RESTARTED_AT,
};

/// The longest honest time of a restart; what is longer is told by its digest.
const LONGEST_RESTART: usize = 64;

/// A place that names an environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The whole pod.
    Pod,
    /// The container of this name.
    Container(String),
}

/// What a place asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It says nothing.
    Silent,
    /// No environment, whatever others say.
    Excluded,
    /// An environment.
    Active,
}

/// What is done with a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// The pin stays, to the letter.
    Keep { pin: Pin },
    /// This pin is written, without asking anybody.
    Write { pin: Pin, pinned_from: String },
    /// The reference has to be resolved.
    Resolve {
        reference: Reference,
        pinned_from: String,
    },
    /// A pin was made from a reference that is gone: it goes, too.
    Remove,
}

/// What a decision is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation<'a> {
    pub(super) annotations: &'a Annotations,
    pub(super) old: &'a Annotations,
}

impl Slot {
    /// Returns every place that annotations speak of.
    #[must_use]
    pub fn all_in(annotations: &Annotations) -> Vec<Self> {
        let containers = annotations.keys().filter_map(|name| {
            let prefixes = [ENVIRONMENT_OF, GENERATION_OF, PINNED_FROM_OF];
            prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))
        });
        let mut all: Vec<Self> = containers
            .map(|name| Self::Container(name.to_owned()))
            .collect();
        all.push(Self::Pod);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns the name of the annotation with its reference.
    #[must_use]
    pub fn environment(&self) -> String {
        self.name(ENVIRONMENT, ENVIRONMENT_OF)
    }

    /// Returns the name of the annotation with its pin.
    #[must_use]
    pub fn generation(&self) -> String {
        self.name(GENERATION, GENERATION_OF)
    }

    /// Returns the name of the annotation that says what the pin was made from.
    #[must_use]
    pub fn pinned_from(&self) -> String {
        self.name(PINNED_FROM, PINNED_FROM_OF)
    }

    fn name(&self, pod: &str, prefix: &str) -> String {
        match self {
            Self::Pod => pod.to_owned(),
            Self::Container(name) => format!("{prefix}{name}"),
        }
    }

    /// Returns what the place asks for.
    pub(super) fn state(&self, annotations: &Annotations) -> State {
        match trimmed(annotations, &self.environment()) {
            Some(NONE) => State::Excluded,
            Some(_) => State::Active,
            // A person may write the pin alone.
            None if annotations.contains_key(&self.generation())
                && !annotations.contains_key(&self.pinned_from()) =>
            {
                State::Active
            }
            None => State::Silent,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.environment())
    }
}

/// Returns what `pinned-from` says of a pin that is made now from this reference, in a template with these annotations.
#[must_use]
pub fn pinned_from(reference: &str, annotations: &Annotations) -> String {
    match restart(annotations) {
        Some(restart) => format!("{reference} {restart}"),
        None => reference.to_owned(),
    }
}

/// Decides what becomes of a place's pin; `None` where it has none and needs none.
pub(super) fn decide(
    slot: &Slot,
    situation: Situation<'_>,
) -> Result<Option<Decision>, AnnotationError> {
    let own = situation.annotations;
    let generation = slot.generation();
    let pin = trimmed(own, &generation);
    let from = trimmed(own, &slot.pinned_from());
    let parsed_pin = |text| parse::<Pin>(&generation, text);
    let text = match trimmed(own, &slot.environment()) {
        Some(text) if text != NONE => text,
        // What was pinned from a reference goes with it, or the pod would still run in the environment.
        _ if from.is_some() => return Ok(Some(Decision::Remove)),
        None => {
            let pin = pin.map(parsed_pin).transpose()?;
            return Ok(pin.map(|pin| Decision::Keep { pin }));
        }
        Some(_none) => return Ok(None),
    };
    let reference: Reference = parse(&slot.environment(), text)?;
    let pinned_from = pinned_from(text, own);
    let write = |pin| Decision::Write {
        pin,
        pinned_from: pinned_from.clone(),
    };
    let agreeing = |text| {
        let pin = parsed_pin(text)?;
        check_agreement(&generation, &pin, &reference)?;
        Ok::<_, AnnotationError>(pin)
    };
    let decision = match (pin, from) {
        // Written by a person, who knows what it means.
        (Some(pin), None) => Decision::Keep {
            pin: agreeing(pin)?,
        },
        (Some(pin), Some(from)) if made_from(from) == text => {
            let pin = agreeing(pin)?;
            match is_restarted(from, situation) {
                false => Decision::Keep { pin },
                true if is_fixed(&reference) => write(pin),
                true => Decision::Resolve {
                    reference,
                    pinned_from,
                },
            }
        }
        _ => {
            let exact = exact(&reference);
            // Who takes away the pin alone wants another; who applies the file without it takes both away.
            let copied = || {
                let is_whole = pin.is_none() && from.is_none();
                is_whole.then(|| copied(slot, text, &reference, situation))?
            };
            match exact.or_else(copied) {
                Some(pin) => write(pin),
                None => Decision::Resolve {
                    reference,
                    pinned_from,
                },
            }
        }
    };
    Ok(Some(decision))
}

/// Returns the pin of the template before this one, if it was made from the same reference and no restart was asked
/// for since.
fn copied(slot: &Slot, text: &str, reference: &Reference, situation: Situation<'_>) -> Option<Pin> {
    let generation = slot.generation();
    let from = trimmed(situation.old, &slot.pinned_from())?;
    if made_from(from) != text {
        return None;
    }
    let pin: Pin = trimmed(situation.old, &generation)?.parse().ok()?;
    check_agreement(&generation, &pin, reference).ok()?;
    (is_fixed(reference) || !is_restarted(from, situation)).then_some(pin)
}

/// Tells whether the reference leaves nothing open, so that time changes nothing of what it means.
fn is_fixed(reference: &Reference) -> bool {
    reference.number.is_some() || reference.digest.is_some()
}

/// Returns the pin that a reference with number and digest is.
fn exact(reference: &Reference) -> Option<Pin> {
    Some(Pin {
        hub: None,
        environment: reference.environment.clone(),
        number: reference.number?,
        digest: reference.digest?,
    })
}

/// Tells whether a restart was asked for that a pin has not seen.
///
/// A pin in a file in git knows of no restart, and is applied again and again to a template that has been restarted:
/// what the template before had already is no new wish. Going back to an older template is none, either.
fn is_restarted(from: &str, situation: Situation<'_>) -> bool {
    let Some(asked) = restart(situation.annotations) else {
        return false;
    };
    if from.split_whitespace().nth(1) == Some(asked.as_str()) {
        return false;
    }
    match restart(situation.old) {
        Some(before) => before != asked && !is_earlier(&asked, &before),
        None => true,
    }
}

/// Returns the reference in a `pinned-from`.
fn made_from(from: &str) -> &str {
    from.split_whitespace().next().unwrap_or_default()
}

/// Returns the time of the last restart as one short word, whatever a tenant wrote there.
fn restart(annotations: &Annotations) -> Option<String> {
    let text = trimmed(annotations, RESTARTED_AT).filter(|text| !text.is_empty())?;
    let is_word = text.len() <= LONGEST_RESTART && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_word {
        return Some(text.to_owned());
    }
    Some(Digest::of(text.as_bytes()).hex())
}

fn trimmed<'a>(annotations: &'a Annotations, name: &str) -> Option<&'a str> {
    annotations.get(name).map(|value| value.trim())
}

/// Tells whether a time is before another. What is no time is before nothing.
fn is_earlier(one: &str, other: &str) -> bool {
    matches!((seconds(one), seconds(other)), (Some(one), Some(other)) if one < other)
}

/// Returns the seconds of an RFC 3339 time since some moment, without leap seconds and fractions.
fn seconds(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let zone = text
        .get(19..)?
        .trim_start_matches(|one: char| one == '.' || one.is_ascii_digit());
    let offset = match zone.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), ..] => {
            let start = text.len() - zone.len();
            let (hours, minutes) = (number(start + 1..start + 3)?, number(start + 4..start + 6)?);
            let offset = hours * 3600 + minutes * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    // Years begin in March, so that the day that not every year has is the last one.
    let (year, month) = if month > 2 {
        (year, month)
    } else {
        (year - 1, month + 12)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * (month - 3) + 2) / 5 + day;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_different_zones_are_compared_as_moments() {
        for (one, other) in [
            ("2026-11-23T22:00:00Z", "2026-11-23T22:00:01Z"),
            ("2026-11-23T22:00:00+02:00", "2026-11-23T21:00:00Z"),
            ("2026-11-23T22:00:00Z", "2026-11-23T20:00:00-05:00"),
            ("2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z"),
            ("2025-12-31T23:59:59.9Z", "2026-01-01T00:00:00Z"),
        ] {
            assert!(is_earlier(one, other), "{one} {other}");
            assert!(!is_earlier(other, one), "{other} {one}");
            assert!(!is_earlier(one, one), "{one}");
        }
        for text in [
            "",
            "now",
            "2026-11-23",
            "2026-11-23T22:00:00",
            "2026-11-23T22:00:00+1é:00",
            "日本語日本語日本語日本語",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
