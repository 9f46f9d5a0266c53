//! What a list of revoked generations may hold, and which list is believed after which.

use std::collections::BTreeMap;

use crate::believe::{Seen, TakenBack};
use crate::generation::RevocationList;
use crate::{Digest, Signed, SignedError, TrustedKeys};

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

/// What is believed of an owner's list: a trusted key signed it, or there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Believed {
    list: RevocationList,
    /// The signed record's digest; none where there is no list.
    record: Option<Digest>,
}

/// Why a list is not believed; what was believed before stays in force.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// No trusted key signed it.
    #[error("the revocation list is not believed")]
    Signed(#[from] SignedError),
    /// It cannot be right, whoever signed it.
    #[error(transparent)]
    Invalid(#[from] RevocationError),
    /// An older one than was seen.
    #[error(
        "the revocation list is a replay: it has sequence {found}, and {seen} was seen before; whoever serves it holds back newer ones"
    )]
    Replayed {
        /// Its sequence.
        found: u64,
        /// The highest that was seen.
        seen: u64,
    },
    /// Another one than was seen under the same sequence.
    #[error("two revocation lists have sequence {sequence}; revoke once more")]
    Twofold {
        /// The sequence.
        sequence: u64,
    },
    /// None, where one was seen.
    #[error("the hub hides the revocation list: one with sequence {seen} was seen before")]
    Hidden {
        /// The highest sequence that was seen.
        seen: u64,
    },
}

impl Believed {
    /// Returns what is believed where nothing was ever heard.
    #[must_use]
    pub fn nothing(owner: &str) -> Self {
        Self {
            list: RevocationList::before_the_first(owner),
            record: None,
        }
    }

    /// Believes a hub's answer by itself: the list that a trusted key signed, or that there is none.
    ///
    /// # Errors
    /// Fails when nobody trusted signed it, and when it cannot be right.
    pub fn read(
        owner: &str,
        answer: Option<&Signed>,
        trusted: &TrustedKeys,
    ) -> Result<Self, ListError> {
        let Some(signed) = answer else {
            return Ok(Self::nothing(owner));
        };
        let subject = format!("the revocation list of {owner}");
        let list: RevocationList = signed.verify(&subject, owner, trusted)?;
        list.check(owner)?;
        Ok(Self {
            list,
            record: Some(signed.digest()),
        })
    }

    /// Refuses a next list that takes back what was believed until now.
    ///
    /// # Errors
    /// Fails for an older list, another one of the same sequence, and none in the place of one.
    pub fn check_next(&self, next: &Self) -> Result<(), ListError> {
        let seen = self.list.sequence;
        if next.record.is_none() && seen > 0 {
            return Err(ListError::Hidden { seen });
        }
        self.seen()
            .check_next(next.seen())
            .map_err(|back| match back {
                TakenBack::Replayed { found, seen } => ListError::Replayed { found, seen },
                TakenBack::Twofold { sequence, .. } => ListError::Twofold { sequence },
            })
    }

    /// Returns what is to be remembered of it.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            sequence: self.list.sequence,
            digest: self.record,
        }
    }

    /// Returns the list.
    #[must_use]
    pub fn list(&self) -> &RevocationList {
        &self.list
    }
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
    use nix_data::SecretKey;

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

    #[test]
    fn a_list_is_believed_only_of_its_owner_and_by_a_trusted_key() {
        let key = SecretKey::generate_from_seed("acme-1", [1; 32]).unwrap();
        let strange = SecretKey::generate_from_seed("acme-2", [2; 32]).unwrap();
        let mut trusted = TrustedKeys::default();
        trusted.add("acme", key.public_key());
        trusted.add("evil", key.public_key());
        let read = |owner: &str, list: &RevocationList, key| {
            let signed = Signed::new(list, key).unwrap();
            Believed::read(owner, Some(&signed), &trusted)
        };
        let believed = read("acme", &list("leaks"), &key).unwrap();
        assert_eq!(believed.list(), &list("leaks"));
        for (error, part) in [
            (read("acme", &list("leaks"), &strange), "is not believed"),
            (read("evil", &list("leaks"), &key), "not of evil"),
            (read("acme", &list(""), &key), "the reason"),
        ] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let none = Believed::read("acme", None, &trusted).unwrap();
        assert_eq!(none, Believed::nothing("acme"));
    }

    #[test]
    fn no_list_takes_back_what_a_later_one_said() {
        let believed = |sequence, record: &[u8]| Believed {
            list: RevocationList {
                sequence,
                ..list("leaks")
            },
            record: Some(Digest::of(record)),
        };
        let nothing = Believed::nothing("acme");
        let five = believed(5, b"five");
        for (before, next) in [
            (&nothing, &nothing),
            (&nothing, &five),
            (&nothing, &believed(0, b"zero")),
            (&five, &five),
            (&five, &believed(6, b"six")),
        ] {
            before.check_next(next).unwrap();
        }
        let refused = |next: &Believed| five.check_next(next).unwrap_err();
        assert!(matches!(
            refused(&believed(4, b"four")),
            ListError::Replayed { found: 4, seen: 5 }
        ));
        assert!(matches!(
            refused(&believed(5, b"other")),
            ListError::Twofold { sequence: 5 }
        ));
        assert!(matches!(refused(&nothing), ListError::Hidden { seen: 5 }));
    }
}
