//! How long a tracked rollout may make no progress, as people write it: `10m`, `1h30m`, `90`.

use std::time::Duration;

/// What holds where neither the workload nor its kind says anything.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(600);

/// Longer ones are a mistake: a rollout that may hang for more than a month is not watched at all.
const LONGEST: Duration = Duration::from_secs(31 * 24 * 3600);

/// Why a text is no deadline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a deadline: expected a time such as 10m, 90s, 1h30m or 600 (seconds), from 1 second to 31 days"
)]
pub struct DeadlineError {
    text: String,
}

/// Returns the time that a text means.
///
/// # Errors
/// Fails for what is no time, for none at all, and for more than a month.
pub fn parse(text: &str) -> Result<Duration, DeadlineError> {
    let wrong = || DeadlineError {
        text: text.chars().take(40).collect(),
    };
    let seconds = seconds(text.trim()).ok_or_else(wrong)?;
    let deadline = Duration::from_secs(seconds);
    if deadline.is_zero() || deadline > LONGEST {
        return Err(wrong());
    }
    Ok(deadline)
}

fn seconds(text: &str) -> Option<u64> {
    if text.len() > 20 {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let mut total: u64 = 0;
    let mut rest = text;
    let mut largest = u64::MAX;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit())?;
        let number: u64 = rest[..end].parse().ok()?;
        let unit = match rest[end..].chars().next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        // Each unit once, the larger before the smaller.
        if unit >= largest {
            return None;
        }
        largest = unit;
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[end + 1..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("10m", 600),
            ("600", 600),
            (" 90s ", 90),
            ("1h30m", 5400),
            ("2h", 7200),
            ("1h0m5s", 3605),
            ("744h", 744 * 3600),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_and_never_panics() {
        let absurd = "9".repeat(400);
        for text in [
            "",
            "0",
            "0s",
            "m",
            "10 m",
            "-1m",
            "1d",
            "10ms",
            "1m1h",
            "1s1s",
            "745h",
            "1é",
            "é",
            "18446744073709551615h",
            "99999999999999999999",
            &absurd,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&absurd).unwrap_err().to_string().len() < 200);
    }
}
