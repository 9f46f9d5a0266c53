//! Lists of revoked generations: kept on disk, confirmed by the hub now and then, asked at every start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use env_spec::revocation::{Believed, ListError};
use env_spec::{Digest, Pin, Signed, TrustedKeys};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

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
    hub: Arc<Hub>,
    owners: Mutex<BTreeMap<String, Arc<Owner>>>,
}

/// One owner's list.
#[derive(Debug)]
struct Owner {
    name: String,
    known: Mutex<Known>,
    /// The last question to the hub: one asks for all.
    asked: Mutex<Option<Question>>,
}

#[derive(Debug, Clone)]
struct Known {
    list: Arc<Believed>,
    /// When the hub confirmed it, in seconds of Unix time; never at first.
    checked_at: Option<i64>,
    /// Why it could not be confirmed the last time.
    failure: Option<Arc<Unconfirmed>>,
}

/// A question that goes on for as long as a healthy hub may take, however long those who start it wait.
#[derive(Debug, Clone)]
struct Question {
    begun: Instant,
    /// What came of it for the node; what the hub said is in the list.
    ended: watch::Receiver<Option<Result<(), Arc<AgentError>>>>,
}

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
        hub: Arc<Hub>,
    ) -> Result<Arc<Self>, AgentError> {
        let revocations = Self {
            settings,
            trusted,
            hub,
            notes: Notes::open(folder, Lasting::Always)?,
            owners: Mutex::default(),
        };
        for (_, noted) in revocations.notes.all::<Noted>()? {
            revocations.owner(&noted.owner)?;
        }
        Ok(Arc::new(revocations))
    }

    /// Refuses a generation that its owner revoked. The hub is asked first where it was not for a while; while it is down, the
    /// last list counts, as long as the configuration lets it.
    pub(crate) async fn check(self: &Arc<Self>, pin: &Pin) -> Result<(), AgentError> {
        let owner = self.owner(pin.environment.owner())?;
        let patience = match owner.known().checked_at {
            Some(_) => PATIENCE,
            None => FIRST_PATIENCE,
        };
        self.confirm(&owner, patience).await?;
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
        self: &Arc<Self>,
        owners: impl IntoIterator<Item = String>,
    ) -> Result<(), AgentError> {
        for name in owners {
            // Where no key is trusted, nothing could be believed.
            if self.trusted.for_owner(&name).is_empty() {
                continue;
            }
            let owner = self.owner(&name)?;
            self.confirm(&owner, FIRST_PATIENCE).await?;
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
            asked: Mutex::default(),
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

    /// Waits until the hub was asked, unless that was done lately. A hub that is silent is waited for once, not by each
    /// pod in turn.
    async fn confirm(
        self: &Arc<Self>,
        owner: &Arc<Owner>,
        patience: Duration,
    ) -> Result<(), AgentError> {
        let is_fresh = age(owner.known().checked_at).is_some_and(|age| age < self.settings.every);
        if is_fresh {
            return Ok(());
        }
        let Question { begun, mut ended } = self.question(owner);
        let rest = patience.saturating_sub(begun.elapsed());
        match tokio::time::timeout(rest, ended.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => Ok(outcome.clone().expect("waited for until it is there")?),
            // The task was dropped without an answer: the agent is stopping.
            Ok(Err(_)) => Err(AgentError::Stopping),
            Err(_elapsed) => {
                owner.known().failure = Some(Arc::new(Unconfirmed::Silent));
                Ok(())
            }
        }
    }

    /// Returns the question that is under way or was asked lately, and else a new one.
    fn question(self: &Arc<Self>, owner: &Arc<Owner>) -> Question {
        let mut asked = owner.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = |question: &&Question| {
            question.goes_on() || question.begun.elapsed() < self.settings.every
        };
        if let Some(question) = asked.as_ref().filter(counts) {
            return question.clone();
        }
        let (end, ended) = watch::channel(None);
        let (this, of) = (Arc::clone(self), Arc::clone(owner));
        tokio::spawn(async move {
            let outcome = this.ask(&of).await;
            // Nobody may be waiting any more.
            end.send_replace(Some(outcome.map_err(Arc::new)));
        });
        let begun = Instant::now();
        asked.insert(Question { begun, ended }).clone()
    }

    /// Asks the hub for a list, and notes what comes of it.
    async fn ask(&self, owner: &Owner) -> Result<(), AgentError> {
        let question = self.hub.revocations(&owner.name);
        let failure = match tokio::time::timeout(FIRST_PATIENCE, question).await {
            Ok(Ok(answer)) => match self.accept(owner, answer) {
                Ok(()) => return Ok(()),
                // The node's own trouble is not the hub's: what cannot be kept must not be forgotten either.
                Err(Unconfirmed::Agent(error)) => return Err(*error),
                Err(failure) => failure,
            },
            Ok(Err(error)) => Unconfirmed::Agent(Box::new(error)),
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

impl Question {
    fn goes_on(&self) -> bool {
        self.ended.borrow().is_none() && self.ended.has_changed().is_ok()
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

#[cfg(test)]
#[path = "revocations/tests.rs"]
mod tests;
