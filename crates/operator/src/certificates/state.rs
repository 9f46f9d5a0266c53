//! The certificate that is served, the one that comes after it, and the authorities that are still to be trusted.
//!
//! The API server is told of an authority a whole turn before its certificate is served, and until it expires, so that
//! replicas and API servers may hear of changes in any order.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::pair::Pair;

/// How many turns a certificate lasts: one in which it waits, one in which it is served, and one to spare.
const TURNS: u32 = 3;

/// What certificates are to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// The host names and addresses by which the API server calls.
    pub(super) names: Vec<String>,
    pub(super) lifetime: Duration,
}

/// Everything that the replicas share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    names: Vec<String>,
    pub(super) current: Pair,
    next: Pair,
    retired: Vec<Retired>,
}

/// An authority whose certificate a replica may still serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retired {
    authority: String,
    expires: Timestamp,
}

impl State {
    pub(super) fn new(
        wish: &Wish,
        retired: Vec<Retired>,
        now: Timestamp,
    ) -> Result<Self, rcgen::Error> {
        Ok(Self {
            names: wish.names.clone(),
            current: Pair::new(&wish.names, wish.lifetime, now)?,
            next: Pair::new(&wish.names, wish.lifetime, now)?,
            retired: only_valid(retired, now),
        })
    }

    /// Returns what comes after this; `None` while it need not change.
    pub(super) fn renewed(
        &self,
        wish: &Wish,
        now: Timestamp,
    ) -> Result<Option<Self>, rcgen::Error> {
        let mut retired = self.retired.clone();
        retired.push(Retired::from(&self.current));
        if self.names != wish.names || self.next.expires <= now {
            retired.push(Retired::from(&self.next));
            return Self::new(wish, retired, now).map(Some);
        }
        let turn = wish.lifetime / TURNS;
        let is_due = |made: Timestamp| made.checked_add(turn).is_ok_and(|due| due <= now);
        if !is_due(self.next.made) && self.current.expires > now {
            return Ok(None);
        }
        Ok(Some(Self {
            names: self.names.clone(),
            current: self.next.clone(),
            next: Pair::new(&wish.names, wish.lifetime, now)?,
            retired: only_valid(retired, now),
        }))
    }

    /// Returns the authorities to trust, as PEM.
    pub(super) fn bundle(&self) -> String {
        let retired = self.retired.iter().map(|one| one.authority.as_str());
        let pairs = [&self.current, &self.next].map(|pair| pair.authority.as_str());
        pairs.into_iter().chain(retired).collect()
    }
}

impl From<&Pair> for Retired {
    fn from(pair: &Pair) -> Self {
        Self {
            authority: pair.authority.clone(),
            expires: pair.expires,
        }
    }
}

fn only_valid(mut retired: Vec<Retired>, now: Timestamp) -> Vec<Retired> {
    retired.retain(|one| one.expires > now);
    retired
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    fn wish() -> Wish {
        Wish {
            names: vec!["nival-controller.nival-system.svc".to_owned()],
            lifetime: Duration::from_secs(90 * DAY),
        }
    }

    fn on_day(day: u64) -> Timestamp {
        Timestamp::from_second(1_790_000_000).unwrap() + Duration::from_secs(day * DAY)
    }

    #[test]
    fn every_certificate_was_trusted_for_a_turn_before_it_is_served_and_stays_so_until_it_expires()
    {
        let mut state = State::new(&wish(), Vec::new(), on_day(0)).unwrap();
        let mut served = vec![state.current.clone()];
        for day in 1..400 {
            let now = on_day(day);
            let before = state.clone();
            if let Some(renewed) = state.renewed(&wish(), now).unwrap() {
                assert!(
                    before.bundle().contains(&renewed.current.authority),
                    "day {day}"
                );
                served.push(renewed.current.clone());
                state = renewed;
            }
            assert!(
                state.current.expires > on_day(day + 29),
                "a turn is left on day {day}"
            );
            for pair in &served {
                let trusted = state.bundle().contains(&pair.authority);
                assert!(trusted || pair.expires <= now, "day {day}");
            }
            assert!(state.retired.len() <= 3, "expired ones go");
        }
        assert_eq!(served.len(), 14, "one every thirty days");
    }

    #[test]
    fn a_cluster_that_slept_and_one_with_other_names_get_new_ones_at_once() {
        let state = State::new(&wish(), Vec::new(), on_day(0)).unwrap();
        assert_eq!(state.renewed(&wish(), on_day(29)).unwrap(), None);
        let slept = state.renewed(&wish(), on_day(365)).unwrap().unwrap();
        assert!(slept.current.expires > on_day(400));
        assert_eq!(slept.retired, []);
        let other = Wish {
            names: vec!["other.nival-system.svc".to_owned()],
            ..wish()
        };
        let renamed = state.renewed(&other, on_day(1)).unwrap().unwrap();
        assert_ne!(renamed.current, state.next);
        assert_eq!(renamed.renewed(&other, on_day(2)).unwrap(), None);
        let text = serde_json::to_string(&renamed).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), renamed);
    }
}
