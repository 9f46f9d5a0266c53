//! What a platform team sees of Nival: stories on a real Kubernetes, each with a name.

mod containers;
mod faults;
mod fetching;
mod hostile;
mod installed;
mod pods;
mod restrictions;
mod stage;
mod updates;

use testkit::Failure;

pub use stage::Stage;

/// A story: something that a user of a cluster does, and what has to come of it.
#[derive(Debug, Clone, Copy)]
pub struct Story {
    /// What it shows, as a sentence with dashes.
    pub name: &'static str,
    /// Tells it.
    pub tell: fn(&mut Stage) -> Result<(), Failure>,
}

/// A cluster with the stories that are told on it, in this order. A story leaves the cluster as it was.
#[derive(Debug)]
pub struct Act {
    /// What the cluster is like.
    pub name: &'static str,
    /// Starts it.
    pub begin: fn() -> Result<Stage, Failure>,
    /// What is told on it.
    pub stories: Vec<Story>,
}

/// Everything that is told.
#[must_use]
pub fn acts() -> Vec<Act> {
    let by_hand = [
        pods::STORIES,
        updates::STORIES,
        containers::STORIES,
        restrictions::STORIES,
        hostile::STORIES,
        faults::STORIES,
        fetching::STORIES,
    ];
    vec![
        Act {
            name: "a cluster whose nodes were made by hand",
            begin: Stage::new,
            stories: by_hand.concat(),
        },
        Act {
            name: "a cluster that the chart was installed in",
            begin: Stage::installed,
            stories: installed::STORIES.concat(),
        },
    ]
}

/// Fails unless something holds, with the words that tell what was seen.
fn ensure(holds: bool, seen: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds {
        return Ok(());
    }
    Err(Failure::Text(seen()))
}

/// Fails unless a text has all of these parts.
fn ensure_tells(text: &str, parts: &[&str]) -> Result<(), Failure> {
    parts.iter().try_for_each(|part| {
        ensure(text.contains(part), || {
            format!("{part:?} is missing in: {text}")
        })
    })
}
