//! Stories of an installation: by the chart, on nodes that had nothing of Nival.

mod accounts;
mod agents;
mod applications;
mod authorities;
mod configuration;
mod failures;
mod own_hub;
mod plugin;
mod private;
mod refusals;
mod restricted;
mod rollouts;
mod running;
mod scale;
mod uninstall;
mod upgrade;

use std::time::Duration;

use serde_json::{Value, json};

use crate::Story;

/// How long what the installation does by itself, now and then, may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const STORIES: &[&[Story]] = &[
    running::STORIES,
    restricted::STORIES,
    accounts::STORIES,
    configuration::STORIES,
    applications::STORIES,
    rollouts::STORIES,
    refusals::STORIES,
    private::STORIES,
    plugin::STORIES,
    failures::STORIES,
    scale::STORIES,
    authorities::STORIES,
    own_hub::STORIES,
    upgrade::STORIES,
    // The last one: it ends with an installation that has seen nothing yet.
    uninstall::STORIES,
];

/// The chart's values, beside hub and keys.
pub(crate) fn values() -> Value {
    json!({
        // Stories say what they wait for, and should not wait for a slow probe.
        "controller": {"resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}},
        "agent": {"resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}},
        "config": {
            "allow": [private::rule()],
            "credentials": {"demo": {"secret": "nival-system/demo-hub"}},
            "revocations": {"everySeconds": 1},
        },
    })
}
