//! The generations that each owner has revoked, as last confirmed by the hub.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use api::hub::error::ErrorCode;
use env_spec::revocation::{Believed, ListError};
use env_spec::{Pin, Signed};
use host::error::one_line;

use super::error::{ResolveError, Unconfirmed};
use super::hub::Way;
use crate::settings::Settings;

/// The newest lists. Only owners with a trusted key ever get one, so their number is bounded by the configuration.
#[derive(Debug, Default)]
pub(super) struct Revocations(Mutex<BTreeMap<String, Arc<Known>>>);

#[derive(Debug)]
struct Known {
    list: Believed,
    /// What it was read from; none where the hub said that there is no list.
    signed: Option<Signed>,
    /// Under which settings it was read: others may trust other keys.
    settings: Weak<Settings>,
    confirmed: Instant,
}

impl Revocations {
    /// Refuses a generation that its owner has revoked.
    ///
    /// While the hub does not answer, its last word counts, unless the policy says for how long.
    pub(super) async fn check(
        &self,
        settings: &Arc<Settings>,
        way: &Way,
        pin: &Pin,
    ) -> Result<(), ResolveError> {
        let owner = pin.environment.owner();
        let begun = Instant::now();
        let last = known(&mut self.lists(), settings, owner);
        let is_fresh = |known: &Arc<Known>| known.age(begun) < settings.revocations_every;
        let known = match last.filter(is_fresh) {
            Some(fresh) => Some(fresh),
            None => self.confirm(settings, way, owner, begun).await?,
        };
        match known.and_then(|known| known.list.list().reason(pin.digest).map(str::to_owned)) {
            Some(reason) => Err(ResolveError::Revoked {
                generation: format!("{}:{}", pin.environment, pin.number),
                reason,
            }),
            None => Ok(()),
        }
    }

    /// Asks the hub, and returns what counts then.
    async fn confirm(
        &self,
        settings: &Arc<Settings>,
        way: &Way,
        owner: &str,
        begun: Instant,
    ) -> Result<Option<Arc<Known>>, ResolveError> {
        let answer = match way.client.revocations(owner).await {
            Ok(signed) => Ok(Some(signed)),
            Err(error) if error.code() == Some(ErrorCode::NotFound) => Ok(None),
            Err(error) => Err(way.failed(format!("the revocation list of {owner}"), error)),
        };
        let failure = match answer {
            Ok(answer) => match self.accept(settings, owner, answer, begun) {
                Ok(confirmed) => return Ok(Some(confirmed)),
                Err(failure) => {
                    let error = one_line(&failure);
                    tracing::warn!(
                        owner,
                        error,
                        "the revocation list is not confirmed; what was known before counts"
                    );
                    Unconfirmed::List(failure)
                }
            },
            Err(error) => Unconfirmed::Hub(Box::new(error)),
        };
        let last = known(&mut self.lists(), settings, owner);
        let (now, allowed) = (Instant::now(), settings.revocations_max_age);
        check_age(owner, last.as_deref(), now, allowed, failure)?;
        Ok(last)
    }

    /// Takes over what the hub answered, unless it takes back what was heard before.
    fn accept(
        &self,
        settings: &Arc<Settings>,
        owner: &str,
        answer: Option<Signed>,
        begun: Instant,
    ) -> Result<Arc<Known>, ListError> {
        let list = Believed::read(owner, answer.as_ref(), &settings.trusted)?;
        let mut lists = self.lists();
        if let Some(last) = known(&mut lists, settings, owner) {
            // Somebody asked later and was answered sooner.
            if last.confirmed > begun {
                return Ok(last);
            }
            last.list.check_next(&list)?;
        }
        let confirmed = Arc::new(Known {
            list,
            signed: answer,
            settings: Arc::downgrade(settings),
            confirmed: begun,
        });
        lists.insert(owner.to_owned(), Arc::clone(&confirmed));
        Ok(confirmed)
    }

    fn lists(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Known>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns an owner's list as far as these settings still trust who signed it: whoever has a key that is trusted no
/// more must not stop anything with it.
fn known(
    lists: &mut BTreeMap<String, Arc<Known>>,
    settings: &Arc<Settings>,
    owner: &str,
) -> Option<Arc<Known>> {
    let known = lists.get(owner)?;
    let now = Arc::downgrade(settings);
    if Weak::ptr_eq(&known.settings, &now) {
        return Some(Arc::clone(known));
    }
    match Believed::read(owner, known.signed.as_ref(), &settings.trusted) {
        Ok(list) => {
            let known = Arc::new(Known {
                list,
                signed: known.signed.clone(),
                settings: now,
                confirmed: known.confirmed,
            });
            lists.insert(owner.to_owned(), Arc::clone(&known));
            Some(known)
        }
        Err(error) => {
            let error = one_line(&error);
            tracing::warn!(owner, error, "a revocation list does not count any more");
            lists.remove(owner);
            None
        }
    }
}

/// Decides whether the last list counts without the hub's word.
fn check_age(
    owner: &str,
    last: Option<&Known>,
    now: Instant,
    allowed: Option<Duration>,
    failure: Unconfirmed,
) -> Result<(), ResolveError> {
    let age = last.map(|last| last.age(now));
    let failure = match (age, failure) {
        // Without the hub there is nothing to go by yet.
        (None, Unconfirmed::Hub(error)) => return Err(*error),
        (_, failure) => failure,
    };
    let Some(allowed) = allowed.filter(|allowed| age.is_none_or(|age| age > *allowed)) else {
        // A list that nobody trusted signed is as good as none: it must not stop what its owner did not revoke.
        return Ok(());
    };
    let confirmed = match age {
        Some(age) => format!("last confirmed {} seconds ago", age.as_secs()),
        None => "never confirmed".to_owned(),
    };
    Err(ResolveError::OldRevocations {
        owner: owner.to_owned(),
        confirmed,
        allowed: allowed.as_secs(),
        source: Box::new(failure),
    })
}

impl Known {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.confirmed)
    }
}

#[cfg(test)]
#[path = "revocations/tests.rs"]
mod tests;
