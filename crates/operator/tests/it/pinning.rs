//! Every kind of workload is pinned as it is made, and its pods are left as its template made them.

use crate::stage::{Stage, pinned, template, web};

#[test]
fn every_kind_of_workload_is_pinned_once_and_in_its_template() {
    testkit::require!(root, setup, programs);
    let stage = Stage::start();
    let pin = stage.pin(1);
    for kind in [
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "Job",
        "CronJob",
        "Pod",
    ] {
        let name = format!("a-{}", kind.to_lowercase());
        stage.apply(&web(kind, &name));
        let made = stage.get(&format!("{kind}/{name}"));
        assert_eq!(
            pinned(&made),
            (pin.clone(), "demo/web".to_owned()),
            "{kind}"
        );
        let spec = &template(&made)["spec"];
        assert_eq!(spec["runtimeClassName"], "nival", "{kind}");
        assert_eq!(
            spec["containers"][0]["image"], "nival.dev/placeholder:v1",
            "{kind}"
        );
    }
}
