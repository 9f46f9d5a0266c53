//! Generations whose record was verified, by digest: a bounded cache of the little that is asked of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use env_spec::{Digest, Pin, System};

use crate::settings::Settings;

/// How many are kept; each is a few hundred bytes.
const MOST: usize = 4096;

/// What is asked of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) pin: Pin,
    pub(super) systems: Vec<System>,
}

/// The generations that were verified last.
#[derive(Debug, Default)]
pub(super) struct Records(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Under which settings they were verified: others may trust other keys.
    settings: Weak<Settings>,
    by_digest: BTreeMap<Digest, Verified>,
    order: VecDeque<Digest>,
}

impl Records {
    /// Returns what is known of a generation under these settings.
    pub(super) fn get(&self, digest: Digest, settings: &Arc<Settings>) -> Option<Verified> {
        self.kept(settings, |kept| kept.by_digest.get(&digest).cloned())
    }

    pub(super) fn put(&self, verified: Verified, settings: &Arc<Settings>) {
        self.kept(settings, |kept| {
            let digest = verified.pin.digest;
            if kept.by_digest.insert(digest, verified).is_none() {
                kept.order.push_back(digest);
            }
            if kept.order.len() > MOST
                && let Some(oldest) = kept.order.pop_front()
            {
                kept.by_digest.remove(&oldest);
            }
        });
    }

    fn kept<T>(&self, settings: &Arc<Settings>, work: impl FnOnce(&mut Kept) -> T) -> T {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Arc::downgrade(settings);
        if !Weak::ptr_eq(&kept.settings, &now) {
            *kept = Kept {
                settings: now,
                ..Kept::default()
            };
        }
        work(&mut kept)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn verified(number: u64) -> Verified {
        Verified {
            pin: Pin {
                hub: None,
                environment: "acme/api".parse().unwrap(),
                number,
                digest: Digest::of(&number.to_le_bytes()),
            },
            systems: Vec::new(),
        }
    }

    #[test]
    fn only_the_last_few_are_kept_and_none_when_other_keys_may_be_trusted() {
        let settings = || Arc::new(Settings::decide(Path::new("agent.toml"), "").unwrap());
        let (now, later) = (settings(), settings());
        let records = Records::default();
        for number in 0..MOST as u64 + 2 {
            records.put(verified(number), &now);
        }
        let known = |number, settings| records.get(verified(number).pin.digest, settings);
        assert_eq!(known(0, &now), None);
        assert_eq!(known(1, &now), None);
        assert_eq!(known(2, &now), Some(verified(2)));
        assert_eq!(
            known(2, &later),
            None,
            "it was verified under other settings"
        );
    }
}
