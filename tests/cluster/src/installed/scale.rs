//! Many pods at once.

use testkit::Failure;

use super::failures::deployment;
use crate::{Stage, Story, ensure};

pub(crate) const STORIES: &[Story] = &[Story {
    name: "sixty-pods-start-at-once",
    tell: sixty,
}];

fn sixty(stage: &mut Stage) -> Result<(), Failure> {
    let pulls = stage.stack.registry.asked();
    stage.cluster.apply(&deployment("many", "demo/tools", 60))?;
    stage.rolled_out("deployment/many")?;
    let restarts = "jsonpath={.items[*].status.containerStatuses[0].restartCount}";
    let restarts = stage.kubectl(&["get", "pods", "-l", "app=many", "-o", restarts])?;
    let count = restarts.split(' ').count();
    ensure(
        count == 60 && restarts.split(' ').all(|one| one == "0"),
        || format!("restarts: {restarts}"),
    )?;
    let pulled = stage.stack.registry.asked() - pulls;
    ensure(pulled == 0, || {
        format!("a registry was asked {pulled} times")
    })?;
    let gone = [
        "delete",
        "deployment",
        "many",
        "--cascade=foreground",
        "--timeout=120s",
    ];
    stage.kubectl(&gone).map(drop)
}
