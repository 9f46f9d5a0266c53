//! Times as the database has them: milliseconds since 1970.

use jiff::Timestamp;

/// Returns now.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Returns a time as RFC 3339 in seconds.
pub(crate) fn text(milliseconds: i64) -> String {
    Timestamp::from_second(milliseconds.div_euclid(1000))
        .map_or_else(|_| milliseconds.to_string(), |time| time.to_string())
}
