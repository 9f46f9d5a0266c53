//! What works, and what is refused and how, while a part is down.

use serde_json::json;

use crate::stage::{Stage, web, workload};

#[test]
fn without_an_operator_only_what_names_an_environment_anew_is_refused() {
    testkit::require!(root, setup, programs);
    let mut stage = Stage::start();
    stage.apply(&web("Deployment", "web"));
    let pin = stage.pinned("deployment/web");
    stage.kill_operator(0, true);
    let said = stage.refused(&web("Deployment", "other"));
    assert!(
        said.contains("failed calling webhook \"workloads.nival.dev\""),
        "{said}"
    );
    let restarted = stage
        .cluster
        .kubectl(&["rollout", "restart", "deployment/web"]);
    assert!(
        restarted.is_err(),
        "a revision that nobody pins is not let in"
    );
    // Whatever else happens to it and to others goes on.
    stage.kubectl(&["scale", "deployment/web", "--replicas=3"]);
    let six = r#"{"spec": {"replicas": 6}}"#;
    stage.kubectl(&[
        "patch",
        "deployment/web",
        "--subresource=scale",
        "--type=merge",
        "-p",
        six,
    ]);
    stage.kubectl(&["label", "deployment/web", "team=web"]);
    assert_eq!(stage.pinned("deployment/web"), pin);
    let mut plain = workload("Deployment", "plain", &json!({}));
    plain["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx".into();
    stage.apply(&plain);
    stage.kubectl(&["set", "env", "deployment/plain", "A=b"]);
    // Pods heal without an operator: six replicas, and each is made.
    let pods = testkit::poll("the pods of six replicas", || {
        let listed = stage
            .cluster
            .kubectl_json(&["get", "pods", "-l", "app=web"])?;
        let count = listed["items"].as_array().map_or(0, Vec::len);
        Ok((count == 6).then_some(()))
    });
    pods.unwrap();
    // A bare pod goes in as it is: its node resolves the reference itself.
    let mut pod = web("Pod", "bare");
    pod["spec"]["containers"][0]["image"] = "nival.dev/placeholder:v1".into();
    pod["spec"]["runtimeClassName"] = "nival".into();
    stage.apply(&pod);
    assert_eq!(stage.pinned("pod/bare").0, "-");
}

#[test]
fn without_the_hub_nothing_is_resolved_but_earlier_revisions_come_back() {
    testkit::require!(root, setup, programs);
    let mut stage = Stage::start();
    stage.apply(&web("Deployment", "web"));
    stage.wait_until_known("deployment/web");
    let first = stage.get("deployment/web")["spec"]["template"].clone();
    stage.push();
    stage.kubectl(&["rollout", "restart", "deployment/web"]);
    stage.stack.hub.kill().unwrap();
    // One that has seen nothing yet, so that nothing comes out of its memory.
    stage.kill_operator(0, false);
    stage.start_operator(&[]);
    let said = stage.refused(&web("Deployment", "other"));
    assert!(
        said.contains("cannot ask the hub for demo/web") && said.contains("check that it runs"),
        "{said}"
    );
    assert!(said.contains("ServiceUnavailable"), "{said}");
    stage.kubectl(&["set", "env", "deployment/web", "A=b"]);
    let undone = testkit::retry("undo", || {
        let undo = ["rollout", "undo", "deployment/web", "--to-revision=1"];
        stage.cluster.kubectl(&undo)
    });
    assert!(undone.unwrap().contains("rolled back"));
    assert_eq!(stage.get("deployment/web")["spec"]["template"], first);
}

#[test]
fn a_second_replica_takes_over_and_admission_goes_on() {
    testkit::require!(root, setup, programs);
    let mut stage = Stage::start();
    stage.start_operator(&[]);
    let leads =
        |stage: &Stage, number: u16| stage.metric(number, "nival_operator_leader") == Some(1.0);
    let one_leads = testkit::poll("one of them to lead, and not both", || {
        Ok(match [0, 1].map(|number| leads(&stage, number)) {
            [true, false] => Some(0_u16),
            [false, true] => Some(1),
            _ => None,
        })
    });
    let first = one_leads.unwrap();
    let second = 1 - first;
    stage.kill_operator(usize::from(first), false);
    stage.apply(&web("Deployment", "web"));
    testkit::poll("the other to lead", || {
        Ok(leads(&stage, second).then_some(()))
    })
    .unwrap();
    // One that stops on purpose gives the lease back, so that nobody waits for it.
    stage.start_operator(&[]);
    testkit::poll("the other to lead still, and not the third", || {
        let leading = [second, 2].map(|number| leads(&stage, number));
        Ok((leading == [true, false]).then_some(()))
    })
    .unwrap();
    stage.operators[usize::from(second)].stop();
    let lease =
        stage
            .cluster
            .kubectl_json(&["get", "lease", "nival-operator", "-n", "nival-system"]);
    let holder = lease.unwrap()["spec"]["holderIdentity"].clone();
    assert!(holder.is_null() || holder == "replica2", "{holder}");
    testkit::poll("the third to lead", || Ok(leads(&stage, 2).then_some(()))).unwrap();
}

#[test]
fn certificates_are_renewed_under_way_and_nobody_notices() {
    testkit::require!(root, setup, programs);
    let mut stage = Stage::without_operator("");
    stage.start_operator(&["--certificate-seconds", "36"]);
    stage.start_operator(&["--certificate-seconds", "36"]);
    let expires = |stage: &Stage, number: u16| {
        let line = "nival_operator_certificate_expiry_timestamp_seconds";
        stage.metric(number, line)
    };
    for _turn in 0..3 {
        let before = expires(&stage, 0).unwrap();
        let renewed = testkit::poll("both replicas to have a new certificate", || {
            stage.applied(&["apply", "--dry-run=server"], &web("Deployment", "web"));
            let later = |number| expires(&stage, number).is_some_and(|time| time > before);
            Ok((later(0) && later(1)).then_some(()))
        });
        renewed.unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
    }
}
