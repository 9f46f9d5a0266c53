//! What a workload's own annotations say of new generations: whether it follows them, and how patiently.

use std::time::Duration;

use crate::deadline;
use crate::names::{PAUSED, PROGRESS_DEADLINE, TRACK, TRACK_LATEST};
use crate::template::Kind;

/// The longest value that is repeated in a doubt, in characters.
const LONGEST_VALUE: usize = 40;

/// What the annotations mean.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tracking {
    /// Whether new generations are rolled out.
    pub follows: bool,
    /// Whether that is held for now.
    pub paused: bool,
    /// How long a rollout may make no progress, where somebody has written that here.
    pub deadline: Option<Duration>,
    /// What was written and means nothing, each in a line.
    pub doubts: Vec<String>,
}

impl Tracking {
    /// Reads a workload's own annotations: a tenant's, which may hold anything.
    #[must_use]
    pub fn read<'a>(kind: Kind, annotation: impl Fn(&str) -> Option<&'a str>) -> Self {
        let mut doubts = Vec::new();
        let mut doubt = |name: &str, value: &str, why: &str| {
            let value: String = value.chars().take(LONGEST_VALUE).collect();
            doubts.push(format!("{name} is {value:?} and does nothing: {why}"));
        };
        let follows = match annotation(TRACK) {
            None => false,
            Some(TRACK_LATEST) if can_follow(kind) => true,
            Some(value @ TRACK_LATEST) => {
                let why =
                    "only a Deployment, StatefulSet, DaemonSet or CronJob follows what is live";
                doubt(TRACK, value, why);
                false
            }
            Some(value) => {
                doubt(TRACK, value, "only \"latest\" follows what is live");
                false
            }
        };
        let paused = annotation(PAUSED);
        if let Some(value) = paused.filter(|value| !matches!(*value, "true" | "false")) {
            doubt(PAUSED, value, "only \"true\" holds rollouts");
        }
        let deadline = match annotation(PROGRESS_DEADLINE).map(deadline::parse) {
            None => None,
            Some(Ok(deadline)) => Some(deadline),
            Some(Err(error)) => {
                doubts.push(format!("{PROGRESS_DEADLINE} is not used: {error}"));
                None
            }
        };
        Self {
            follows,
            paused: paused == Some("true"),
            deadline,
            doubts,
        }
    }
}

/// Tells whether a kind can be rolled out: the others' templates cannot be changed, or change no pod.
fn can_follow(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::CronJob
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, annotations: &[(&str, &'static str)]) -> Tracking {
        Tracking::read(kind, |name| {
            let mut all = annotations.iter();
            all.find(|(key, _)| *key == name).map(|(_, value)| *value)
        })
    }

    #[test]
    fn what_is_written_right_is_followed_without_a_doubt() {
        assert_eq!(read(Kind::Deployment, &[]), Tracking::default());
        let all = [
            (TRACK, "latest"),
            (PAUSED, "true"),
            (PROGRESS_DEADLINE, "90s"),
        ];
        let tracking = read(Kind::CronJob, &all);
        assert!(tracking.follows && tracking.paused);
        assert_eq!(tracking.deadline, Some(Duration::from_secs(90)));
        assert!(tracking.doubts.is_empty());
        assert_eq!(
            read(Kind::DaemonSet, &[(PAUSED, "false")]),
            Tracking::default()
        );
    }

    #[test]
    fn what_means_nothing_is_a_doubt_that_names_it() {
        let wrong = [
            (TRACK, "lastest"),
            (PAUSED, "yes"),
            (PROGRESS_DEADLINE, "soon"),
        ];
        let tracking = read(Kind::Deployment, &wrong);
        assert!(!tracking.follows && !tracking.paused);
        assert_eq!(tracking.deadline, None);
        assert_eq!(
            tracking.doubts,
            [
                "nival.dev/track is \"lastest\" and does nothing: only \"latest\" follows what is live",
                "nival.dev/paused is \"yes\" and does nothing: only \"true\" holds rollouts",
                "nival.dev/progress-deadline is not used: \"soon\" is not a deadline: expected a time such as 10m, 90s, \
                 1h30m or 600 (seconds), from 1 second to 31 days",
            ]
        );
        let job = read(Kind::Job, &[(TRACK, "latest")]);
        assert!(!job.follows);
        assert!(job.doubts[0].contains("only a Deployment"), "{job:?}");
    }

    #[test]
    fn a_hostile_value_stays_short() {
        let long: &'static str = Box::leak("x\n".repeat(100_000).into_boxed_str());
        let wrong = [(TRACK, long), (PAUSED, long), (PROGRESS_DEADLINE, long)];
        for doubt in read(Kind::Deployment, &wrong).doubts {
            assert!(doubt.len() < 300 && !doubt.contains('\n'), "{doubt}");
        }
    }
}
