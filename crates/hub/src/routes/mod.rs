//! The endpoints: one file each, named as in `api::hub`.

pub(crate) mod cache_info;
pub(crate) mod documents;
pub(crate) mod environments;
pub(crate) mod generations;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod info;
pub(crate) mod live;
pub(crate) mod missing;
pub(crate) mod nar;
pub(crate) mod narinfo;
pub(crate) mod revocations;

use env_spec::{EnvironmentName, Record, Signed};
use nix_data::Signature;

use crate::app::App;
use crate::error::HubError;

/// A signed record is JSON text within JSON: every quote doubles.
const LARGEST_SIGNED: u64 = 2 * env_spec::LARGEST_RECORD as u64 + (64 << 10);

/// Bodies that hold a few fields.
const LARGEST_SMALL: u64 = 64 << 10;

/// The most signatures on one record.
const MOST_SIGNATURES: usize = 16;

/// Returns the environment that an address names.
fn environment_name(owner: &str, name: &str) -> Result<EnvironmentName, HubError> {
    EnvironmentName::new(owner, name).map_err(|error| HubError::BadRequest(error.to_string()))
}

/// The largest number that canonical JSON carries exactly: its numbers are doubles, which round larger ones.
const LARGEST_NUMBER: u64 = (1 << 53) - 1;

/// Reads a record whose signatures are not believed here.
fn read_record<R: Record>(signed: &Signed) -> Result<R, HubError> {
    require_exact_numbers(&signed.record)?;
    Ok(signed.read_unverified()?)
}

/// Refuses a JSON text with a number that another reader would round.
fn require_exact_numbers(text: &str) -> Result<(), HubError> {
    let mut rest = text;
    while let Some(start) = rest.find(|one: char| one == '"' || one.is_ascii_digit()) {
        rest = &rest[start..];
        if let Some(string) = rest.strip_prefix('"') {
            rest = after_string(string);
            continue;
        }
        let end = rest.find(|one: char| !one.is_ascii_digit());
        let (digits, after) = rest.split_at(end.unwrap_or(rest.len()));
        if digits
            .parse::<u64>()
            .map_or(true, |number| number > LARGEST_NUMBER)
        {
            let shown: String = digits.chars().take(40).collect();
            return Err(HubError::BadRequest(format!(
                "the record has the number {shown}; the largest that a record may have is {LARGEST_NUMBER}, \
                 because canonical JSON (RFC 8785) rounds larger ones"
            )));
        }
        rest = after;
    }
    Ok(())
}

/// Returns what follows the end of a string.
fn after_string(mut text: &str) -> &str {
    while let Some(at) = text.find(['"', '\\']) {
        let (found, after) = text[at..].split_at(1);
        if found == "\"" {
            return after;
        }
        let mut after = after.chars();
        after.next();
        text = after.as_str();
    }
    ""
}

/// Checks that somebody signed. Whether to believe them is for those to say who trust keys.
fn require_signature(app: &App, signed: &Signed, subject: &str) -> Result<(), HubError> {
    if signed.signatures.len() > MOST_SIGNATURES {
        let count = signed.signatures.len();
        let text =
            format!("{subject} has {count} signatures; the most allowed is {MOST_SIGNATURES}");
        return Err(HubError::BadRequest(text));
    }
    for text in &signed.signatures {
        text.parse::<Signature>().map_err(|error| {
            HubError::BadRequest(format!("a signature of {subject} is not valid: {error}"))
        })?;
    }
    if signed.signatures.is_empty() && !app.settings.accept_unsigned {
        return Err(HubError::Unsigned {
            subject: subject.to_owned(),
        });
    }
    Ok(())
}

/// Refuses a record of another environment than the address names.
fn require_same(found: &EnvironmentName, wanted: &EnvironmentName) -> Result<(), HubError> {
    if found == wanted {
        return Ok(());
    }
    Err(HubError::BadRequest(format!(
        "the record is of {found}, but was sent to {wanted}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_every_reader_reads_alike_are_taken() {
        for text in [
            r#"{"sequence":9007199254740991}"#,
            r#"{"text":"9007199254740992"}"#,
            r#"{"text":"\"9007199254740992","\\":1}"#,
            "[1,2,{\"a\":0}]",
            "\"9007199254740992 without an end \\",
            "",
        ] {
            assert!(require_exact_numbers(text).is_ok(), "{text}");
        }
        for text in [
            r#"{"sequence":9007199254740992}"#,
            r#"{"text":"\\","sequence":1152921504606847000}"#,
            r#"{"sequence":99999999999999999999999999}"#,
            "9007199254740993",
        ] {
            let error = require_exact_numbers(text).unwrap_err().to_string();
            assert!(error.contains("9007199254740991"), "{error}");
        }
    }
}
