//! The name of an owner: the same rule as in an environment's name.

use std::fmt;
use std::str::FromStr;

use env_spec::EnvironmentName;

use crate::error::HubError;

/// A valid name of an owner, and so a safe part of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner(String);

impl Owner {
    /// Returns the name.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Owner {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        match EnvironmentName::new(text, "any") {
            Ok(name) => Ok(Self(name.owner().to_owned())),
            Err(_) => Err(HubError::BadRequest(format!(
                "{:?} is not the name of an owner: lower-case letters, digits, `-`, `_` and `.` are allowed",
                text.chars().take(100).collect::<String>()
            ))),
        }
    }
}

impl From<&EnvironmentName> for Owner {
    fn from(name: &EnvironmentName) -> Self {
        Self(name.owner().to_owned())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for text in [
            "", "..", ".", "a/b", "a\0", "A", "a b", "../x", "a/../b", "%2e",
        ] {
            assert!(text.parse::<Owner>().is_err(), "{text:?}");
        }
        assert_eq!("acme-1".parse::<Owner>().unwrap().as_str(), "acme-1");
    }
}
