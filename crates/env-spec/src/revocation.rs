//! What a list of revoked generations may hold.

use std::collections::BTreeMap;

use crate::Digest;
use crate::generation::RevocationList;

/// The most generations that a list may name.
pub const MOST_REVOKED: usize = 2_000;

/// The longest reason in bytes: it is shown in one line, by a node as the cause why a pod does not start.
pub const LONGEST_REASON: usize = 240;

/// The longest time: RFC 3339 with nanoseconds is far shorter.
const LONGEST_TIME: usize = 64;

/// Why a list cannot be right, whoever signed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// A list of another owner was put in the place of the right one.
    #[error("the revocation list is of {found:?}, not of {wanted}")]
    Foreign {
        /// Whose the list says it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// More than anybody revokes.
    #[error(
        "the revocation list of {owner} names {count} generations; the most allowed is {MOST_REVOKED}"
    )]
    TooMany {
        /// Whose list it is.
        owner: String,
        /// How many it names.
        count: usize,
    },
    /// The reason cannot be shown.
    #[error(
        "the reason for revoking {digest} is not valid: expected 1 to {LONGEST_REASON} bytes of text in one line"
    )]
    Reason {
        /// The generation.
        digest: Digest,
    },
    /// The time is none.
    #[error("the time of the revocation list of {owner} is not valid")]
    Time {
        /// Whose list it is.
        owner: String,
    },
}

impl RevocationList {
    /// Returns a list that revokes nothing and counts as the one before the first.
    #[must_use]
    pub fn before_the_first(owner: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            revoked: BTreeMap::new(),
            sequence: 0,
            time: String::new(),
        }
    }

    /// Checks that this is a list of the right owner and that it can be shown.
    ///
    /// # Errors
    /// Fails for another owner, too many generations, and reasons that are empty, long or more than a line.
    pub fn check(&self, owner: &str) -> Result<(), RevocationError> {
        if self.owner != owner {
            return Err(RevocationError::Foreign {
                found: self.owner.chars().take(100).collect(),
                wanted: owner.to_owned(),
            });
        }
        if self.revoked.len() > MOST_REVOKED {
            return Err(RevocationError::TooMany {
                owner: owner.to_owned(),
                count: self.revoked.len(),
            });
        }
        if self.time.len() > LONGEST_TIME || self.time.contains(char::is_control) {
            return Err(RevocationError::Time {
                owner: owner.to_owned(),
            });
        }
        match self.revoked.iter().find(|(_, reason)| !is_shown(reason)) {
            Some((digest, _)) => Err(RevocationError::Reason { digest: *digest }),
            None => Ok(()),
        }
    }

    /// Returns why a generation is revoked; `None` where it is not.
    #[must_use]
    pub fn reason(&self, generation: Digest) -> Option<&str> {
        self.revoked.get(&generation).map(String::as_str)
    }
}

fn is_shown(reason: &str) -> bool {
    (1..=LONGEST_REASON).contains(&reason.len())
        && !reason.trim().is_empty()
        && !reason.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(reason: &str) -> RevocationList {
        RevocationList {
            owner: "acme".to_owned(),
            revoked: [(Digest::of(b"one"), reason.to_owned())].into(),
            sequence: 1,
            time: "2026-11-24T10:00:00Z".to_owned(),
        }
    }

    #[test]
    fn what_cannot_be_shown_in_a_line_is_no_reason() {
        list("leaks the key").check("acme").unwrap();
        list(&"x".repeat(LONGEST_REASON)).check("acme").unwrap();
        for reason in [
            "",
            "  ",
            "two\nlines",
            "\u{1b}[31m",
            &"x".repeat(LONGEST_REASON + 1),
        ] {
            let error = list(reason).check("acme").unwrap_err();
            assert!(
                matches!(error, RevocationError::Reason { .. }),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn a_list_of_another_owner_and_an_endless_one_are_refused() {
        let error = list("leaks").check("evil").unwrap_err();
        assert!(
            error.to_string().contains("of \"acme\", not of evil"),
            "{error}"
        );
        let mut long = list("leaks");
        long.revoked = (0..=MOST_REVOKED)
            .map(|number| (Digest::of(number.to_string().as_bytes()), "x".to_owned()))
            .collect();
        let error = long.check("acme").unwrap_err();
        assert!(matches!(error, RevocationError::TooMany { .. }), "{error}");
    }

    #[test]
    fn what_is_revoked_is_told_with_its_reason() {
        let list = list("leaks");
        assert_eq!(list.reason(Digest::of(b"one")), Some("leaks"));
        assert_eq!(list.reason(Digest::of(b"two")), None);
    }
}
