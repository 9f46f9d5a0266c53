//! What is to be done with a workload that is tracked: pure, so that every turn of a rollout is tested by itself.
//!
//! ```text
//!            a pointer moves          nodes have it            pods are up
//!  (stable) ───────────────▶ Prefetching ────────▶ Progressing ───────────▶ Complete
//!                                 ▲                  │     │ deadline          │ a person's undo
//!            the pointer moves    │     it moves ────┘     ▼                   ▼
//!            again                └───────────────────  RolledBack            Held
//! ```

mod moves;
mod target;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use env_spec::Pin;
use jiff::Timestamp;
use workload::rollout::{Memory, Phase, Recall};

use super::progress::Progress;
pub(crate) use moves::refused;
use moves::{adopt, begin, finish, hold, look_again, pause, prefetch, replace, resume, supervise};
use target::Target;

/// How long nodes may fetch before the rollout goes on without them.
pub(crate) const PREFETCH_BOUND: Duration = Duration::from_secs(15 * 60);
/// How long a node that says it failed is given to try again while another one has succeeded.
pub(crate) const FAILED_BOUND: Duration = Duration::from_secs(60);
/// A place in a template that names an environment by a floating reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    /// The environment, as references name it.
    pub(crate) environment: String,
    /// The pin beside the reference.
    pub(crate) pin: Option<Pin>,
    /// Whether a pin stands there without a word of what it was made from.
    pub(crate) bare: bool,
}

/// What the hub says is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) pin: Pin,
    pub(crate) sequence: u64,
    /// When it was made live, as its signer says (RFC 3339).
    pub(crate) since: String,
}

/// How the nodes stand that were asked to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fetching {
    /// Whether it is known yet which nodes are to be asked.
    pub(crate) asked: bool,
    pub(crate) done: usize,
    pub(crate) failed: usize,
    /// Still fetching, or not heard of.
    pub(crate) pending: usize,
}

/// All that a decision is made of.
#[derive(Debug)]
pub(crate) struct Situation<'a> {
    pub(crate) recall: &'a Recall,
    /// Whether the workload asks for new generations.
    pub(crate) tracked: bool,
    /// Whether a person has paused tracking, here or for the environment.
    pub(crate) paused: bool,
    /// The template's floating references.
    pub(crate) uses: &'a [Use],
    /// What is live, of those environments that the hub has told of.
    pub(crate) live: &'a BTreeMap<String, Live>,
    /// Why the hub, or what it said, keeps the workload from one of its environments, until somebody changes that.
    pub(crate) trouble: Option<&'a str>,
    pub(crate) progress: Progress,
    pub(crate) deadline: Duration,
    pub(crate) fetching: Fetching,
    pub(crate) now: Timestamp,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Decision {
    /// What is written to the workload, in one patch.
    pub(crate) write: Option<Write>,
    /// The generations that its nodes should have.
    pub(crate) prefetch: Vec<Pin>,
    /// What is told, once `write` is done.
    pub(crate) news: Option<News>,
    /// When to look again at the latest.
    pub(crate) again: Option<Duration>,
    /// Whether pods of neither the newest nor the present revision that are not ready are in the way.
    pub(crate) unblock: bool,
    /// Why nothing moves, where something is waited for.
    pub(crate) waiting: Option<String>,
}

/// A patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) memory: Memory,
    /// The pins to put beside the references of these environments, where the template changes.
    pub(crate) pins: Option<BTreeMap<String, Wanted>>,
    /// Whether the pods are asked first why they do not come up; the answer ends the memory's reason.
    pub(crate) ask_pods: bool,
}

/// What is to stand beside a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) pin: Pin,
    /// Without a word of what it was made from, as it stood there before.
    pub(crate) bare: bool,
}

/// What is told by events and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum News {
    Prefetching,
    RollingOut,
    RolledOut,
    RolledBack,
    Held,
}

/// Decides.
pub(crate) fn decide(situation: &Situation<'_>) -> Decision {
    if !situation.tracked || situation.uses.is_empty() {
        return Decision::default();
    }
    let target = Target::of(situation);
    if situation.paused || situation.progress.paused {
        return pause(situation);
    }
    if let Some(memory) = situation
        .recall
        .known()
        .filter(|memory| memory.paused_at.is_some())
    {
        return resume(situation, memory);
    }
    match situation.recall {
        // Neither can be judged before the hub has spoken.
        Recall::Fresh | Recall::Outdated { .. } if !target.is_known() => Decision::default(),
        Recall::Fresh if target.is_reached() => adopt(situation, &target),
        Recall::Fresh => begin(situation, &target),
        // Not a person who went back.
        Recall::Outdated { .. } if target.is_reached() => adopt(situation, &target),
        Recall::Outdated { .. } => hold(situation, &target),
        Recall::Known(memory) => go_on(situation, &target, memory),
    }
}

fn go_on(situation: &Situation<'_>, target: &Target<'_>, memory: &Memory) -> Decision {
    let news = target.is_news();
    match memory.phase {
        Phase::Prefetching if target.is_reached() => adopt(situation, target),
        Phase::Prefetching if !target.is_as_before() => hold(situation, target),
        Phase::Prefetching if news => begin(situation, target),
        Phase::Prefetching => prefetch(situation, target, memory),
        Phase::Progressing if !target.is_as_written() && !target.is_reached() => {
            hold(situation, target)
        }
        Phase::Progressing if news && !target.is_reached() => replace(situation, target),
        Phase::Progressing if news => adopt(situation, target),
        Phase::Progressing => supervise(situation, target, memory),
        Phase::Complete | Phase::RolledBack | Phase::Held if news && target.is_reached() => {
            adopt(situation, target)
        }
        Phase::Complete | Phase::RolledBack | Phase::Held if news => begin(situation, target),
        Phase::Complete if target.is_as_written() || target.is_reached() => Decision::default(),
        Phase::Complete => hold(situation, target),
        // A person went forward after all.
        Phase::RolledBack | Phase::Held if target.is_reached() => {
            if situation.progress.is_complete() {
                return finish(situation, target);
            }
            look_again(situation)
        }
        Phase::RolledBack if !situation.progress.is_complete() => Decision {
            unblock: situation.progress.ordered && situation.progress.observed,
            ..look_again(situation)
        },
        Phase::RolledBack | Phase::Held => Decision::default(),
    }
}
