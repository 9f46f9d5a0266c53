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

use env_spec::{EnvironmentName, Signed};
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
