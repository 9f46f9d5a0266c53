//! What a scalar means, as `kubectl` reads it, and how a text is written so that it is read back as a text.

use serde_json::{Number, Value};

/// Returns the value of a plain scalar.
pub(super) fn value(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        // The words of YAML 1.1 count, since kubectl reads them so.
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    let bytes = text.as_bytes();
    let looks = bytes
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_'));
    let digit = bytes.iter().any(u8::is_ascii_digit);
    let begins = matches!(bytes.first(), Some(b'+' | b'-' | b'.' | b'0'..=b'9'));
    if !looks || !digit || !begins {
        return None;
    }
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let radix = |prefix: &str, radix: u32| {
        let digits = digits.strip_prefix(prefix)?;
        i64::from_str_radix(digits, radix).ok()
    };
    let octal = || {
        let old = digits.len() > 1 && digits.starts_with('0');
        old.then(|| i64::from_str_radix(digits, 8).ok()).flatten()
    };
    let special = radix("0x", 16)
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0b", 2))
        .or_else(octal);
    if let Some(number) = special {
        return Some((sign * number).into());
    }
    if let Ok(number) = plain.parse::<i64>() {
        return Some(number.into());
    }
    // Rust knows words for numbers that are not finite; a manifest has none of them.
    let decimal = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    let number = decimal.then(|| plain.parse::<f64>().ok()).flatten()?;
    Number::from_f64(number)
}

/// Returns a text as a scalar of block style: plain where it cannot be taken for anything else.
pub(super) fn written(text: &str) -> String {
    let first = text.bytes().next();
    let calm = |byte: u8| byte.is_ascii_alphanumeric() || b"/._:@+ -".contains(&byte);
    let plain = first.is_some_and(|byte| byte.is_ascii_alphabetic())
        && text.bytes().all(calm)
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && value(text).is_string();
    if plain { text.to_owned() } else { quoted(text) }
}

/// Returns a text in double quotes, in which JSON's escapes are YAML's.
pub(super) fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_mean_what_kubectl_takes_them_for() {
        for (text, expected) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("yes", json!(true)),
            ("off", json!(false)),
            ("12", json!(12)),
            ("-3", json!(-3)),
            ("0x10", json!(16)),
            ("010", json!(8)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("nan", json!("nan")),
            ("infinity", json!("infinity")),
            ("1.2.3", json!("1.2.3")),
            ("acme/api:12", json!("acme/api:12")),
            ("2026-11-23T22:00:00Z", json!("2026-11-23T22:00:00Z")),
            ("-", json!("-")),
            (".", json!(".")),
        ] {
            assert_eq!(value(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_quoted() {
        assert_eq!(written("acme/api:1@sha256:00"), "acme/api:1@sha256:00");
        assert_eq!(
            written("acme/api 2026-11-23T22:00:00Z"),
            "acme/api 2026-11-23T22:00:00Z"
        );
        for text in [
            "", "yes", "12", "a: b", "a #b", "a:", "*x", "- a", "a\nb", "{a}",
        ] {
            assert!(written(text).starts_with('"'), "{text:?}");
        }
    }
}
