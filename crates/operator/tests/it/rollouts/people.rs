//! What people do counts: undo, pause, suspend and forget.

use super::{
    PlayedKubelet, annotate, condition, memory, start, tracked, wait, wait_for_environment,
    wait_for_event,
};
use crate::stage::{Stage, pinned, template};

#[test]
fn an_undo_is_exact_and_stands_until_the_pointer_moves() {
    testkit::require!(root, setup, programs);
    let stage = start();
    let _kubelet = PlayedKubelet::start(&stage);
    stage.apply(&tracked("Deployment", "web", 2));
    stage.apply(&tracked("StatefulSet", "set", 1));
    let (first, all) = (stage.pin(1), ["deployment/web", "statefulset/set"]);
    let before = all.map(|what| template(&wait(&stage, what, "Complete", &first)).clone());
    stage.push();
    let second = stage.pin(2);
    for what in all {
        wait(&stage, what, "Complete", &second);
    }
    for (what, before) in all.into_iter().zip(before) {
        stage.kubectl(&["rollout", "undo", what]);
        let object = wait(&stage, what, "Held", &first);
        assert_eq!(*template(&object), before, "{what}");
        assert_eq!(
            memory(&object)["reason"],
            "the template was set to demo/web:1 by hand"
        );
        let name = what.split_once('/').unwrap().1;
        wait_for_event(&stage, name, "Held", |text| text.contains("by hand"));
    }
    wait_for_environment(&stage, "demo.web", |object| {
        condition(object, "Progressing").starts_with("False Held")
    });
    // A person's other changes, a scale and a new leader change nothing of it.
    stage.kubectl(&["scale", "deployment/web", "--replicas=3"]);
    stage.kubectl(&["set", "env", "deployment/web", "A=b"]);
    let mut stage = stage;
    stage.kill_operator(0, false);
    stage.start_operator(&[]);
    looked(&stage, 1);
    for what in all {
        assert_eq!(pinned(&stage.get(what)).0, first, "{what}");
        assert_eq!(memory(&stage.get(what))["phase"], "Held", "{what}");
    }
    stage.push();
    let third = stage.pin(3);
    for what in all {
        wait(&stage, what, "Complete", &third);
    }
    // And an undo of what the operator has held before is an undo like any other.
    stage.kubectl(&["rollout", "undo", "deployment/web"]);
    wait(&stage, "deployment/web", "Held", &first);
    // Forgetting is trying again.
    stage.kubectl(&["label", "deployment/web", "nival.dev/rollout-serial-"]);
    wait(&stage, "deployment/web", "Complete", &third);
}

#[test]
fn pauses_and_suspensions_hold_and_what_moved_meanwhile_is_followed() {
    testkit::require!(root, setup, programs);
    let stage = start();
    let _kubelet = PlayedKubelet::start(&stage);
    stage.apply(&tracked("Deployment", "web", 1));
    stage.apply(&tracked("Deployment", "other", 1));
    let first = stage.pin(1);
    for what in ["deployment/web", "deployment/other"] {
        wait(&stage, what, "Complete", &first);
    }
    annotate(&stage, "deployment/web", "nival.dev/paused=true");
    stage.push();
    let second = stage.pin(2);
    wait(&stage, "deployment/other", "Complete", &second);
    assert_eq!(stage.pinned("deployment/web").0, first);
    let paused = wait_for_environment(&stage, "demo.web", |object| {
        condition(object, "Progressing").starts_with("False Held")
    });
    assert_eq!(
        condition(&paused, "Progressing"),
        "False Held: Deployment/web: paused"
    );
    annotate(&stage, "deployment/web", "nival.dev/paused-");
    wait(&stage, "deployment/web", "Complete", &second);

    let suspend = |on: bool| {
        let patch = format!("{{\"spec\": {{\"suspend\": {on}}}}}");
        stage.kubectl(&["patch", "nenv", "demo.web", "--type=merge", "-p", &patch]);
    };
    suspend(true);
    wait_for_environment(&stage, "demo.web", |object| {
        condition(object, "Progressing") == "False Suspended: spec.suspend holds all rollouts"
    });
    stage.push();
    let third = stage.pin(3);
    wait_for_environment(&stage, "demo.web", |object| {
        object["status"]["live"]["number"] == 3
    });
    for what in ["deployment/web", "deployment/other"] {
        assert_eq!(stage.pinned(what).0, second, "{what}");
    }
    suspend(false);
    for what in ["deployment/web", "deployment/other"] {
        wait(&stage, what, "Complete", &third);
    }
    // Kubernetes' own pause, in the middle of a rollout.
    stage.kubectl(&["rollout", "pause", "deployment/web"]);
    stage.push();
    let fourth = stage.pin(4);
    wait(&stage, "deployment/other", "Complete", &fourth);
    assert_eq!(stage.pinned("deployment/web").0, third);
    stage.kubectl(&["rollout", "resume", "deployment/web"]);
    wait(&stage, "deployment/web", "Complete", &fourth);
}

/// Waits until a replica leads and has looked at everything.
fn looked(stage: &Stage, number: u16) {
    let looked = testkit::poll("a new leader to have looked at everything", || {
        Ok((stage.metric(number, "nival_operator_workloads_tracked") == Some(2.0)).then_some(()))
    });
    looked.unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
    // It writes the state of the environment after it has looked at the workloads that were due before it.
    stage.kubectl(&[
        "patch",
        "nenv",
        "demo.web",
        "--type=merge",
        "-p",
        r#"{"spec": {"suspend": true}}"#,
    ]);
    wait_for_environment(stage, "demo.web", |object| {
        condition(object, "Progressing").starts_with("False Suspended")
    });
    stage.kubectl(&[
        "patch",
        "nenv",
        "demo.web",
        "--type=merge",
        "-p",
        r#"{"spec": {"suspend": false}}"#,
    ]);
    wait_for_environment(stage, "demo.web", |object| {
        condition(object, "Progressing").starts_with("False Held")
    });
}
