//! Lists of revoked generations: kept on disk, confirmed by the hub now and then, asked at every start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use env_spec::revocation::{Believed, ListError};
use env_spec::{Digest, Pin, Signed, TrustedKeys};
use serde::{Deserialize, Serialize};

use crate::error::AgentError;
use crate::hub::Hub;
use crate::notes::{Lasting, Notes};
use crate::settings::RevocationSettings;

/// How long a start waits for a hub that may be down, where there is a list that counts without it.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long it waits where the hub was never asked.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// The lists of all owners whose environments were used here.
#[derive(Debug)]
pub(crate) struct Revocations {
    settings: RevocationSettings,
    trusted: TrustedKeys,
    notes: Notes,
    owners: Mutex<BTreeMap<String, Arc<Owner>>>,
}

/// One owner's list.
#[derive(Debug)]
struct Owner {
    name: String,
    known: Mutex<Known>,
    /// One asks for all.
    asking: tokio::sync::Mutex<Attempt>,
}

#[derive(Debug, Clone)]
struct Known {
    list: Arc<Believed>,
    /// When the hub confirmed it, in seconds of Unix time; never at first.
    checked_at: Option<i64>,
    /// Why it could not be confirmed the last time.
    failure: Option<Arc<Unconfirmed>>,
}

/// When the hub was asked last.
#[derive(Debug, Default)]
struct Attempt(Option<Instant>);

/// Written to disk: fields may be added, never changed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Noted {
    owner: String,
    /// None where the hub said that there is no list.
    list: Option<Signed>,
    checked_at: i64,
}

/// What the agent tells of an owner's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) owner: String,
    pub(crate) sequence: u64,
    pub(crate) revoked: u64,
    pub(crate) checked_at: i64,
}

/// Why a list was not confirmed; what was known before stays in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unconfirmed {
    #[error(transparent)]
    Agent(#[from] Box<AgentError>),
    #[error("the hub did not answer in time")]
    Silent,
    #[error(transparent)]
    List(#[from] ListError),
}

impl Revocations {
    pub(crate) fn open(
        folder: PathBuf,
        settings: RevocationSettings,
        trusted: TrustedKeys,
    ) -> Result<Self, AgentError> {
        let revocations = Self {
            settings,
            trusted,
            notes: Notes::open(folder, Lasting::Always)?,
            owners: Mutex::default(),
        };
        for (_, noted) in revocations.notes.all::<Noted>()? {
            revocations.owner(&noted.owner)?;
        }
        Ok(revocations)
    }

    /// Refuses a generation that its owner revoked. The hub is asked first where it was not for a while; while it is down, the
    /// last list counts, as long as the configuration lets it.
    pub(crate) async fn check(&self, pin: &Pin, hub: &Hub) -> Result<(), AgentError> {
        let owner = self.owner(pin.environment.owner())?;
        let patience = match owner.known().checked_at {
            Some(_) => PATIENCE,
            None => FIRST_PATIENCE,
        };
        self.confirm(&owner, hub, patience).await?;
        let known = owner.known().clone();
        if let Some(reason) = known.reason(pin) {
            return Err(AgentError::Revoked {
                generation: format!("{}:{}", pin.environment, pin.number),
                owner: owner.name.clone(),
                reason: reason.to_owned(),
            });
        }
        let Some(most) = self.settings.max_age else {
            return Ok(());
        };
        let age = age(known.checked_at);
        if age.is_some_and(|age| age <= most) {
            return Ok(());
        }
        let since = age.map_or("never".to_owned(), |age| format!("{} s ago", age.as_secs()));
        Err(AgentError::UnconfirmedRevocations {
            generation: format!("{}:{}", pin.environment, pin.number),
            since,
            most: most.as_secs(),
            source: known.failure,
        })
    }

    /// Asks the hub about these owners, where that is due.
    pub(crate) async fn refresh(
        &self,
        owners: impl IntoIterator<Item = String>,
        hub: &Hub,
    ) -> Result<(), AgentError> {
        for name in owners {
            // Where no key is trusted, nothing could be believed.
            if self.trusted.for_owner(&name).is_empty() {
                continue;
            }
            let owner = self.owner(&name)?;
            self.confirm(&owner, hub, FIRST_PATIENCE).await?;
        }
        Ok(())
    }

    /// Tells whether a generation is on the list that is known.
    pub(crate) fn is_revoked(&self, pin: &Pin) -> bool {
        let owner = self.owners().get(pin.environment.owner()).cloned();
        owner.is_some_and(|owner| owner.known().reason(pin).is_some())
    }

    pub(crate) fn view(&self) -> Vec<View> {
        let owners: Vec<Arc<Owner>> = self.owners().values().cloned().collect();
        let view = |owner: Arc<Owner>| {
            let known = owner.known();
            View {
                owner: owner.name.clone(),
                sequence: known.list.list().sequence,
                revoked: known.list.list().revoked.len() as u64,
                checked_at: known.checked_at.unwrap_or(0),
            }
        };
        owners.into_iter().map(view).collect()
    }

    /// Returns an owner with what is on disk. Only owners with a trusted key come here, so they are few.
    fn owner(&self, name: &str) -> Result<Arc<Owner>, AgentError> {
        let mut owners = self.owners();
        if let Some(owner) = owners.get(name) {
            return Ok(Arc::clone(owner));
        }
        // A note that cannot be read is not the same as none: that would let what is revoked start.
        let noted = self.notes.read_or_refuse::<Noted>(&note_of(name))?;
        let owner = Arc::new(Owner {
            name: name.to_owned(),
            known: Mutex::new(self.known(name, noted)),
            asking: tokio::sync::Mutex::default(),
        });
        owners.insert(name.to_owned(), Arc::clone(&owner));
        Ok(owner)
    }

    fn known(&self, name: &str, noted: Option<Noted>) -> Known {
        let known = |list, checked_at| Known {
            list: Arc::new(list),
            checked_at,
            failure: None,
        };
        let Some(noted) = noted.filter(|noted| noted.owner == name) else {
            return known(Believed::nothing(name), None);
        };
        match Believed::read(name, noted.list.as_ref(), &self.trusted) {
            Ok(list) => known(list, Some(noted.checked_at)),
            // The key that signed it is not trusted any more: whoever has it must not stop anything with it.
            Err(error) => {
                let error = host::error::one_line(&error);
                tracing::warn!(
                    owner = name,
                    error,
                    "the revocation list on disk does not count any more"
                );
                known(Believed::nothing(name), None)
            }
        }
    }

    /// Asks the hub, unless that was done lately or somebody does just now and is done in time.
    async fn confirm(
        &self,
        owner: &Owner,
        hub: &Hub,
        patience: Duration,
    ) -> Result<(), AgentError> {
        let is_fresh =
            |known: &Known| age(known.checked_at).is_some_and(|age| age < self.settings.every);
        if is_fresh(&owner.known()) {
            return Ok(());
        }
        let asked = tokio::time::timeout(patience, async {
            let mut attempt = owner.asking.lock().await;
            let lately = attempt
                .0
                .is_some_and(|at| at.elapsed() < self.settings.every);
            if lately || is_fresh(&owner.known()) {
                return Ok(());
            }
            // Noted before it ends: a hub that is silent is waited for once, not by each pod in turn.
            attempt.0 = Some(Instant::now());
            let answer = hub.revocations(&owner.name).await.map_err(Box::new);
            self.accept(owner, answer?)
        });
        let failure = match asked.await {
            Ok(Ok(())) => return Ok(()),
            // The node's own trouble is not the hub's: what cannot be kept must not be forgotten either.
            Ok(Err(Unconfirmed::Agent(error))) if matches!(*error, AgentError::State { .. }) => {
                return Err(*error);
            }
            Ok(Err(failure)) => failure,
            Err(_elapsed) => Unconfirmed::Silent,
        };
        let error = host::error::one_line(&failure);
        tracing::warn!(
            owner = owner.name,
            error,
            "the revocation list is not confirmed; what was known before counts"
        );
        owner.known().failure = Some(Arc::new(failure));
        Ok(())
    }

    /// Takes over what the hub answers, unless it is older than what was seen.
    fn accept(&self, owner: &Owner, answer: Option<Signed>) -> Result<(), Unconfirmed> {
        let list = Believed::read(&owner.name, answer.as_ref(), &self.trusted)?;
        let mut known = owner.known();
        known.list.check_next(&list)?;
        let checked_at = now();
        let noted = Noted {
            owner: owner.name.clone(),
            list: answer,
            checked_at,
        };
        self.notes
            .write(&note_of(&owner.name), &noted)
            .map_err(Box::new)?;
        if list != *known.list {
            tracing::info!(
                owner = owner.name,
                sequence = list.list().sequence,
                revoked = list.list().revoked.len(),
                "the revocation list changed"
            );
        }
        *known = Known {
            list: Arc::new(list),
            checked_at: Some(checked_at),
            failure: None,
        };
        Ok(())
    }

    fn owners(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Owner>>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn reason(&self, pin: &Pin) -> Option<&str> {
        self.list.list().reason(pin.digest)
    }
}

fn note_of(owner: &str) -> String {
    Digest::of(owner.as_bytes()).hex()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Returns how long ago that was; nothing for never, and for a time that is yet to come on this clock.
pub(crate) fn age(checked_at: Option<i64>) -> Option<Duration> {
    let seconds = now().checked_sub(checked_at?)?;
    Some(Duration::from_secs(u64::try_from(seconds).ok()?))
}
