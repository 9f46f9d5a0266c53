//! The generations that each owner has revoked, as last confirmed by the hub.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::hub::error::ErrorCode;
use env_spec::generation::RevocationList;
use env_spec::{Pin, Signed, TrustedKeys};

use super::error::ResolveError;
use super::hub::Way;
use crate::settings::Settings;

/// The newest lists. Only owners with a trusted key ever get one, so their number is bounded by the configuration.
#[derive(Debug, Default)]
pub(super) struct Revocations(Mutex<BTreeMap<String, Known>>);

#[derive(Debug, Clone)]
struct Known {
    list: RevocationList,
    confirmed: Instant,
}

impl Revocations {
    /// Refuses a generation that its owner has revoked.
    ///
    /// While the hub does not answer, its last word counts, unless the policy says for how long.
    pub(super) async fn check(
        &self,
        settings: &Settings,
        way: &Way,
        pin: &Pin,
    ) -> Result<(), ResolveError> {
        let owner = pin.environment.owner();
        let now = Instant::now();
        let mut known = self.lists().get(owner).cloned();
        let is_fresh = |known: &Known| known.age(now) < settings.revocations_every;
        if !known.as_ref().is_some_and(is_fresh) {
            match self.ask(settings, way, owner, known.as_ref()).await {
                Ok(list) => {
                    let confirmed = Known {
                        list,
                        confirmed: now,
                    };
                    self.lists().insert(owner.to_owned(), confirmed.clone());
                    known = Some(confirmed);
                }
                Err(error) => match &known {
                    None => return Err(error),
                    Some(last) => last.check_age(owner, now, settings.revocations_max_age)?,
                },
            }
        }
        match known
            .as_ref()
            .and_then(|known| known.list.reason(pin.digest))
        {
            Some(reason) => Err(ResolveError::Revoked {
                generation: format!("{}:{}", pin.environment, pin.number),
                reason: reason.to_owned(),
            }),
            None => Ok(()),
        }
    }

    async fn ask(
        &self,
        settings: &Settings,
        way: &Way,
        owner: &str,
        known: Option<&Known>,
    ) -> Result<RevocationList, ResolveError> {
        let what = format!("the revocation list of {owner}");
        let seen = known.map_or(0, |known| known.list.sequence);
        let list = match way.client.revocations(owner).await {
            Ok(signed) => believe(&signed, &what, owner, &settings.trusted)?,
            Err(error) if error.code() == Some(ErrorCode::NotFound) => {
                RevocationList::before_the_first(owner)
            }
            Err(error) => return Err(way.failed(what, error)),
        };
        if list.sequence < seen {
            let found = list.sequence;
            tracing::warn!(
                owner,
                found,
                seen,
                "the hub holds back a newer revocation list"
            );
            return Err(ResolveError::Replayed { what, found, seen });
        }
        Ok(list)
    }

    fn lists(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.confirmed)
    }

    fn check_age(
        &self,
        owner: &str,
        now: Instant,
        allowed: Option<Duration>,
    ) -> Result<(), ResolveError> {
        let age = self.age(now);
        match allowed.filter(|allowed| age > *allowed) {
            Some(allowed) => Err(ResolveError::OldRevocations {
                owner: owner.to_owned(),
                age: age.as_secs(),
                allowed: allowed.as_secs(),
            }),
            None => Ok(()),
        }
    }
}

fn believe(
    signed: &Signed,
    what: &str,
    owner: &str,
    trusted: &TrustedKeys,
) -> Result<RevocationList, ResolveError> {
    let list: RevocationList = signed.verify(what, owner, trusted)?;
    list.check(owner)?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_not_confirmed_for_too_long_counts_no_more() {
        let begun = Instant::now();
        let known = Known {
            list: RevocationList::before_the_first("acme"),
            confirmed: begun,
        };
        let check = |seconds, allowed: Option<u64>| {
            let now = begun + Duration::from_secs(seconds);
            known.check_age("acme", now, allowed.map(Duration::from_secs))
        };
        assert!(check(1_000_000, None).is_ok());
        assert!(check(600, Some(600)).is_ok());
        let error = check(601, Some(600)).unwrap_err();
        assert!(error.is_transient());
        assert!(error.to_string().contains("601 seconds ago"), "{error}");
    }
}
