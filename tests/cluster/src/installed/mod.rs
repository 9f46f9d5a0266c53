//! Stories of an installation: by the chart, on nodes that had nothing of Nival.

mod accounts;
mod applications;
mod failures;
mod plugin;
mod private;
mod refusals;
mod restricted;
mod rollouts;
mod running;
mod scale;

use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[&[Story]] = &[
    running::STORIES,
    restricted::STORIES,
    accounts::STORIES,
    applications::STORIES,
    rollouts::STORIES,
    refusals::STORIES,
    private::STORIES,
    plugin::STORIES,
    failures::STORIES,
    scale::STORIES,
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
