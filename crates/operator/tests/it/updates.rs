//! When a pin is made anew and when it is not, as `kubectl` brings it about.

use std::process::Command;
use std::thread;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::stage::{Stage, pinned, web};

const WEB: &str = "deployment/web";

/// The pin that is wanted, made from the reference alone.
fn fresh(stage: &Stage, number: u64) -> (String, String) {
    (stage.pin(number), "demo/web".to_owned())
}

fn revision(stage: &Stage) -> i64 {
    stage.get(WEB)["metadata"]["generation"].as_i64().unwrap()
}

/// Applies a file, again where a controller wrote in between: `kubectl replace` gives up then.
fn takes(stage: &Stage, way: &[&str], file: &Value) {
    let taken = testkit::poll("the file to be taken", || {
        let output = stage.with_manifest(way, file);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => Ok(Some(())),
            false if talk.contains("the object has been modified") => Ok(None),
            false => Err(testkit::Failure::Text(talk)),
        }
    });
    taken.unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
}

#[test]
fn applying_the_unpinned_file_again_changes_nothing_by_any_way_of_applying() {
    testkit::require!(root, setup, programs);
    let stage = Stage::start();
    for (name, way) in [
        ("client", &["apply"][..]),
        ("server", &["apply", "--server-side"]),
        ("replace", &["replace"]),
    ] {
        let what = format!("deployment/{name}");
        let file = web("Deployment", name);
        let first = if name == "replace" { &["create"] } else { way };
        stage.applied(first, &file);
        let made = stage.get(&what);
        stage.push();
        takes(&stage, way, &file);
        let again = stage.get(&what);
        assert_eq!(again["spec"], made["spec"], "{name}");
        if name != "replace" {
            assert_eq!(again["metadata"]["generation"], 1, "{name}");
            // What a GitOps controller asks: is what is there what the file says?
            let mut difference = vec!["diff"];
            difference.extend(way.iter().skip(1));
            let output = stage.with_manifest(&difference, &file);
            assert!(
                output.status.success(),
                "{name}: {}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
        // Another argument replaces the pods, by the same generation.
        let mut changed = file.clone();
        changed["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["-c"]);
        takes(&stage, way, &changed);
        let after = stage.get(&what);
        let argument = &after["spec"]["template"]["spec"]["containers"][0]["args"][0];
        assert_eq!(argument, "-c", "{name}");
        assert_eq!(pinned(&after), pinned(&made), "{name}");
    }
}

#[test]
fn a_restart_takes_what_is_live_and_undo_returns_exactly() {
    testkit::require!(root, setup, programs);
    let stage = Stage::start();
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        stage.apply(&web(kind, "web"));
    }
    stage.push();
    for kind in ["deployment", "statefulset", "daemonset"] {
        let what = format!("{kind}/web");
        assert_eq!(stage.pinned(&what), fresh(&stage, 1));
        stage.wait_until_known(&what);
        let first = stage.get(&what)["spec"]["template"].clone();
        stage.kubectl(&["rollout", "restart", &what]);
        let (pin, from) = stage.pinned(&what);
        assert_eq!(pin, stage.pin(2), "{kind}");
        assert!(from.starts_with("demo/web 20"), "{from}");
        // The revision before is known to the controllers a moment later.
        let undone = testkit::retry("undo", || {
            stage.cluster.kubectl(&["rollout", "undo", &what])
        });
        assert!(undone.unwrap().contains("rolled back"), "{kind}");
        assert_eq!(stage.get(&what)["spec"]["template"], first, "{kind}");
    }
    // The pods' sets and the pods themselves are made from the template and left as they are.
    for what in ["replicasets", "pods"] {
        let there = testkit::poll("sets and pods", || {
            let listed = stage
                .cluster
                .kubectl_json(&["get", what, "-l", "app=web"])?;
            let items = listed["items"].as_array().cloned().unwrap_or_default();
            Ok((!items.is_empty()).then_some(items))
        });
        for one in there.unwrap() {
            let (pin, _) = pinned(&one);
            assert!(pin == stage.pin(1) || pin == stage.pin(2), "{pin}");
        }
    }
}

#[test]
fn what_leaves_the_template_alone_asks_nobody() {
    testkit::require!(root, setup, programs);
    let stage = Stage::start();
    stage.apply(&web("Deployment", "web"));
    stage.push();
    let asked = || {
        let outcomes = ["mutate", "validate"].map(|webhook| {
            let line = format!("nival_operator_admissions_total{{webhook=\"{webhook}\",outcome=\"admitted\",reason=\"\"}}");
            stage.metric(0, &line).unwrap()
        });
        outcomes.iter().sum::<f64>()
    };
    let before = asked();
    stage.kubectl(&["scale", WEB, "--replicas=4"]);
    // As an autoscaler does.
    let four = r#"{"spec": {"replicas": 5}}"#;
    stage.kubectl(&[
        "patch",
        WEB,
        "--subresource=scale",
        "--type=merge",
        "-p",
        four,
    ]);
    stage.kubectl(&[
        "patch",
        WEB,
        "--type=merge",
        "-p",
        r#"{"spec": {"replicas": 6}}"#,
    ]);
    stage.kubectl(&["label", WEB, "team=web"]);
    stage.kubectl(&["annotate", WEB, "note=x"]);
    let status = r#"{"status": {"observedGeneration": 1}}"#;
    stage.kubectl(&[
        "patch",
        WEB,
        "--subresource=status",
        "--type=merge",
        "-p",
        status,
    ]);
    assert_eq!(asked(), before);
    assert_eq!(stage.pinned(WEB), fresh(&stage, 1));
    assert_eq!(stage.get(WEB)["spec"]["replicas"], 6);
    // And nothing of a workload that names no environment is looked at.
    let mut plain = web("Deployment", "plain");
    plain["spec"]["template"]["metadata"]["annotations"] = json!({"other": "x"});
    plain["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx".into();
    stage.apply(&plain);
    assert_eq!(asked(), before);
}

#[test]
fn a_changed_reference_is_resolved_and_one_that_is_gone_takes_its_pin_along() {
    testkit::require!(root, setup, programs);
    let stage = Stage::start();
    stage.stack.publish("api", "bash", "--public").unwrap();
    let with = |reference: Option<&str>| {
        let mut file = web("Deployment", "web");
        let template = &mut file["spec"]["template"];
        template["spec"]["containers"][0]["image"] = "nginx".into();
        template["metadata"]["annotations"] = match reference {
            Some(reference) => json!({"environment.nival.dev/web": reference}),
            None => json!({}),
        };
        file
    };
    let pin = || {
        let made = stage.get(WEB);
        let annotations = made["spec"]["template"]["metadata"]["annotations"].clone();
        annotations["generation.nival.dev/web"]
            .as_str()
            .map(str::to_owned)
    };
    stage.apply(&with(Some("demo/web")));
    assert_eq!(pin().unwrap(), stage.pin(1));
    stage.apply(&with(Some("demo/api")));
    assert!(
        pin().unwrap().starts_with("demo/api:1@sha256:"),
        "{:?}",
        pin()
    );
    stage.apply(&with(Some("demo/web:1")));
    assert_eq!(pin().unwrap(), stage.pin(1));
    let full = stage.pin(1);
    stage.apply(&with(Some(&full)));
    assert_eq!(pin().unwrap(), full);
    stage.apply(&with(None));
    assert_eq!(pin(), None);
}

#[test]
fn two_admissions_at_once_leave_one_pin_and_its_origin() {
    testkit::require!(root, setup, programs);
    let stage = Stage::start();
    stage.apply(&web("Deployment", "web"));
    let mut restarted = Timestamp::UNIX_EPOCH;
    for round in 2..5 {
        stage.push();
        // `kubectl` writes whole seconds, and refuses a second restart within one.
        let begun = testkit::poll("a later second", || {
            let second = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
            Ok((second > restarted).then_some(second))
        })
        .unwrap();
        let commands: Vec<Command> = (0..4)
            .map(|number| {
                let mut command = stage.cluster.kubectl_command().unwrap();
                match number {
                    0 | 1 => command.args(["rollout", "restart", WEB]),
                    _ => command.args(["set", "env", WEB, &format!("ROUND={round}{number}")]),
                };
                command
            })
            .collect();
        thread::scope(|scope| {
            for mut command in commands {
                scope.spawn(move || command.output().unwrap());
            }
        });
        let made = stage.get(WEB);
        let annotations = &made["spec"]["template"]["metadata"]["annotations"];
        let written = annotations["kubectl.kubernetes.io/restartedAt"].as_str();
        let written = written.unwrap_or_else(|| panic!("no restart: {made}"));
        restarted = written.parse().unwrap();
        assert!(restarted >= begun, "no restart since {begun}: {made}");
        let expected = (stage.pin(round), format!("demo/web {written}"));
        assert_eq!(pinned(&made), expected, "{made}");
    }
    assert!(revision(&stage) > 3);
}

#[test]
fn a_dry_run_shows_what_would_be_and_does_nothing() {
    testkit::require!(root, setup, programs);
    let stage = Stage::start();
    let arguments = ["apply", "--dry-run=server", "-o", "json"];
    let shown: Value =
        serde_json::from_str(&stage.applied(&arguments, &web("Deployment", "web"))).unwrap();
    assert_eq!(pinned(&shown), fresh(&stage, 1));
    assert!(stage.cluster.kubectl(&["get", WEB]).is_err());
}
