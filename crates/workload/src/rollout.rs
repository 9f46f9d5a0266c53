//! What the operator remembers of a workload's rollout, on the workload itself: an annotation, and a label that dates it.

use std::collections::BTreeMap;

use env_spec::Pin;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{ROLLOUT, ROLLOUT_SERIAL};

/// The longest memory that is read: one of a pod with a hundred environments has some 40 KB.
const LARGEST: usize = 64 << 10;
/// The longest reason that is kept, in characters.
const LONGEST_REASON: usize = 512;

/// How a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Nodes fetch the new generations; the template still has the old ones.
    Prefetching,
    /// The template has the new generations, and pods are replaced.
    Progressing,
    /// All pods run the new generations.
    Complete,
    /// They did not come up: the template has the old ones again, until a live pointer moves.
    RolledBack,
    /// The template is as a person left it, until a live pointer moves.
    Held,
}

/// One environment's part in a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The generation to go back to; none where the template had no pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Pin>,
    /// The generation to go to.
    pub to: Pin,
    /// The sequence of the live pointer that was followed last.
    pub sequence: u64,
    /// Whether `from` was written by hand, without `pinned-from`: going back leaves it out again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bare: bool,
}

/// When a rollout was last seen to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// How far it was; only comparable within one rollout. None before the newest template was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// For how many pods that was: counts for different numbers are not comparable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<i32>,
    /// When.
    pub at: Timestamp,
}

/// The value of the annotation. Fields may be added, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Counts the writes; the label holds the same number.
    pub serial: u64,
    /// How it stands.
    pub phase: Phase,
    /// The environments, as references name them: `owner/name`.
    pub environments: BTreeMap<String, Step>,
    /// When the newest target was first seen.
    pub started_at: Timestamp,
    /// When it was complete, rolled back or held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When it last moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Mark>,
    /// Since when the clock stands, because somebody paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// Whether the new generations are what it was rolled back or held for, and not a person's wish.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// Why it was rolled back or is held.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The failure before this rollout: who looks rarely must not miss it when the next one begins at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_before: Option<Box<Failed>>,
}

/// A rollout whose new generations did not come up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// How it ended: rolled back or held.
    pub phase: Phase,
    /// The generations that it was to bring.
    pub generations: Vec<Pin>,
    /// When it ended.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// What a workload's metadata says of its rollout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Recall {
    /// Nothing: no rollout ever, or somebody removed the label to have it forgotten.
    #[default]
    Fresh,
    /// The operator's last word.
    Known(Memory),
    /// Something older or foreign, while there was a rollout: `kubectl rollout undo` of a Deployment brings back all
    /// annotations of the old revision, this one among them, but never touches labels.
    Outdated {
        /// The serial of the last word.
        serial: u64,
    },
}

impl Memory {
    /// Returns the annotation's value.
    #[must_use]
    pub fn to_annotation(&self) -> String {
        serde_json::to_string(self).expect("its keys are text, and no writer fails")
    }

    /// Returns the newest rollout that failed, this one or one before it.
    #[must_use]
    pub fn failure(&self) -> Option<Failed> {
        let at = self.ended_at.filter(|_| self.failed);
        let own = at.map(|at| Failed {
            phase: self.phase,
            generations: self
                .environments
                .values()
                .map(|step| step.to.clone())
                .collect(),
            at,
            reason: self.reason.clone(),
        });
        own.or_else(|| self.failed_before.as_deref().cloned())
    }

    /// Returns a reason that fits: one line, bounded.
    #[must_use]
    pub fn reason_of(text: &str) -> String {
        let line = one_line(text);
        if line.chars().count() <= LONGEST_REASON {
            return line;
        }
        line.chars().take(LONGEST_REASON - 1).chain(['…']).collect()
    }
}

/// Returns what somebody said in one line that a terminal shows and does not obey: programs, nodes and admission of others
/// say what they like.
#[must_use]
pub fn one_line(text: &str) -> String {
    let words = text.split(|one: char| one.is_whitespace() || one.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

impl Recall {
    /// Reads a workload's own annotations and labels. Both are a tenant's and may hold anything.
    #[must_use]
    pub fn read<'a>(
        annotation: impl Fn(&str) -> Option<&'a str>,
        label: impl Fn(&str) -> Option<&'a str>,
    ) -> Self {
        let Some(serial) = label(ROLLOUT_SERIAL) else {
            return Self::Fresh;
        };
        let serial = serial.parse().unwrap_or(0);
        annotation(ROLLOUT)
            .filter(|text| text.len() <= LARGEST)
            .and_then(|text| serde_json::from_str::<Memory>(text).ok())
            .filter(|memory| memory.serial == serial)
            .map_or(Self::Outdated { serial }, Self::Known)
    }

    /// Returns the memory, where it is the last word.
    #[must_use]
    pub fn known(&self) -> Option<&Memory> {
        match self {
            Self::Known(memory) => Some(memory),
            Self::Fresh | Self::Outdated { .. } => None,
        }
    }

    /// Returns the serial of the next write.
    #[must_use]
    pub fn next_serial(&self) -> u64 {
        match self {
            Self::Fresh => 1,
            Self::Known(memory) => memory.serial.saturating_add(1),
            Self::Outdated { serial } => serial.saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(number: u64) -> Pin {
        let digest = "0".repeat(64);
        format!("acme/api:{number}@sha256:{digest}")
            .parse()
            .unwrap()
    }

    fn memory() -> Memory {
        Memory {
            serial: 7,
            phase: Phase::Progressing,
            environments: BTreeMap::from([(
                "acme/api".to_owned(),
                Step {
                    from: Some(pin(12)),
                    to: pin(13),
                    sequence: 6,
                    bare: false,
                },
            )]),
            started_at: "2026-11-25T10:00:00Z".parse().unwrap(),
            ended_at: None,
            progress: None,
            paused_at: None,
            failed: false,
            reason: String::new(),
            failed_before: None,
        }
    }

    fn read(annotation: Option<&str>, label: Option<&str>) -> Recall {
        Recall::read(
            |name| annotation.filter(|_| name == ROLLOUT),
            |name| label.filter(|_| name == ROLLOUT_SERIAL),
        )
    }

    #[test]
    fn what_was_written_is_read_again() {
        let text = memory().to_annotation();
        assert_eq!(
            text,
            format!(
                "{{\"serial\":7,\"phase\":\"Progressing\",\"environments\":{{\"acme/api\":{{\"from\":\"{}\",\"to\":\"{}\",\"sequence\":6}}}},\"startedAt\":\"2026-11-25T10:00:00Z\"}}",
                pin(12),
                pin(13)
            )
        );
        assert_eq!(read(Some(&text), Some("7")), Recall::Known(memory()));
        assert_eq!(read(Some(&text), Some("7")).next_serial(), 8);
    }

    #[test]
    fn a_mark_of_an_older_operator_is_read() {
        let mut older = memory();
        let at = older.started_at;
        let (count, desired) = (Some(4), None);
        older.progress = Some(Mark { count, desired, at });
        let text = older.to_annotation();
        assert!(!text.contains("desired"), "{text}");
        assert_eq!(read(Some(&text), Some("7")), Recall::Known(older));
    }

    #[test]
    fn an_undo_brings_back_an_old_memory_and_the_label_tells() {
        let text = memory().to_annotation();
        assert_eq!(read(Some(&text), Some("9")), Recall::Outdated { serial: 9 });
        assert_eq!(read(None, Some("9")), Recall::Outdated { serial: 9 });
        assert_eq!(read(None, Some("9")).next_serial(), 10);
    }

    #[test]
    fn without_the_label_it_was_told_to_forget() {
        let text = memory().to_annotation();
        assert_eq!(read(Some(&text), None), Recall::Fresh);
        assert_eq!(read(None, None).next_serial(), 1);
    }

    #[test]
    fn hostile_values_are_outdated_and_nothing_worse() {
        let long = format!("{{\"serial\":7,\"reason\":\"{}\"}}", "x".repeat(LARGEST));
        let huge = "18446744073709551616";
        for text in ["", "{", "null", "{\"serial\":7}", "[7]", &long] {
            assert_eq!(read(Some(text), Some("7")), Recall::Outdated { serial: 7 });
        }
        assert_eq!(read(Some("{}"), Some(huge)), Recall::Outdated { serial: 0 });
        let last = u64::MAX.to_string();
        assert_eq!(read(None, Some(&last)).next_serial(), u64::MAX);
    }

    #[test]
    fn a_failure_is_remembered_until_the_next_one() {
        assert_eq!(memory().failure(), None);
        let mut failed = memory();
        failed.phase = Phase::RolledBack;
        failed.failed = true;
        failed.ended_at = Some(failed.started_at);
        failed.reason = "it crashed".to_owned();
        let failure = failed.failure().unwrap();
        assert_eq!(failure.generations, [pin(13)]);
        assert_eq!(failure.reason, "it crashed");
        let mut later = memory();
        later.failed_before = failed.failure().map(Box::new);
        assert_eq!(later.failure(), Some(failure));
        let text = later.to_annotation();
        assert_eq!(read(Some(&text), Some("7")), Recall::Known(later));
    }

    #[test]
    fn a_reason_is_one_bounded_line() {
        assert_eq!(Memory::reason_of(" a\n\tb  c\n"), "a b c");
        assert_eq!(
            Memory::reason_of("\u{1b}[2Ja\0b\u{9b}31mé\u{7f}"),
            "[2Ja b 31mé"
        );
        let long = Memory::reason_of(&"é".repeat(5000));
        assert_eq!(long.chars().count(), LONGEST_REASON);
        assert!(long.ends_with('…'));
    }
}
