//! Revoking what was published, and what may not be made live from then on.

use std::process::Command;

use serde_json::Value;
use testkit::require;

use crate::publisher::Publisher;

/// Returns the reasons of an environment's generations, newest first.
fn reasons(publisher: &Publisher) -> Vec<Option<String>> {
    let there = publisher.generations();
    let reason = |one: &Value| one["revoked"].as_str().map(str::to_owned);
    there["generations"]
        .as_array()
        .unwrap()
        .iter()
        .map(reason)
        .collect()
}

#[test]
fn what_is_revoked_is_shown_and_not_made_live_until_that_is_undone() {
    require!(root, setup, programs);
    let publisher = Publisher::new();
    let digests = ["one", "two", "three"].map(|text| publisher.push(text));
    publisher.badly(
        "nival revoke demo/app --reason leaks",
        &["names no generation"],
    );
    publisher.badly("nival revoke demo/app:2", &["--reason"]);
    publisher.badly(
        "nival revoke demo/app:2 --reason ''",
        &["expected 1 to 240 bytes"],
    );
    publisher.badly(
        "nival revoke demo/app:9 --reason leaks",
        &["no generation demo/app:9"],
    );

    let done = publisher.well("nival revoke demo/app:2 --reason 'leaks the key' --json");
    let done: Value = serde_json::from_str(&done).unwrap();
    assert_eq!(
        (&done["digest"], &done["sequence"]),
        (&Value::from(&*digests[1]), &Value::from(1))
    );
    let again = publisher.well("nival revoke demo/app:2 --reason 'leaks the key' --json");
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        (&again["changed"], &again["sequence"]),
        (&false.into(), &1.into())
    );

    assert_eq!(
        reasons(&publisher),
        [None, Some("leaks the key".to_owned()), None]
    );
    for (command, part) in [
        ("nival generations demo/app", "2       revoked"),
        ("nival show demo/app:2", "revoked     leaks the key"),
        (
            "nival show demo/app:2 --json",
            "\"revoked\": \"leaks the key\"",
        ),
        ("nival revocations demo", "demo/app:2"),
        ("nival revocations demo --json", &digests[1]),
    ] {
        let text = publisher.well(command);
        assert!(text.contains(part), "{command}: {text}");
    }

    publisher.badly(
        "nival rollback demo/app:2",
        &["demo/app:2 is revoked: leaks the key", "--undo"],
    );
    // By default it goes past what is revoked.
    publisher.well("nival rollback demo/app");
    assert_eq!(publisher.generations()["live"], 1);
    publisher.well("nival revoke --undo demo/app:2");
    assert_eq!(reasons(&publisher), [None, None, None]);
    publisher.well("nival rollback demo/app:2");
    assert_eq!(publisher.generations()["live"], 2);
}

#[test]
fn content_that_is_live_and_revoked_is_not_pushed_again() {
    require!(root, setup, programs);
    let publisher = Publisher::new();
    let digest = publisher.push("one");
    // By digest alone it also is what somebody read in a pod.
    let talk = publisher.well(&format!(
        "nival revoke demo/app@{digest} --reason leaks 2>&1"
    ));
    assert!(talk.contains("demo/app:1 is live"), "{talk}");
    publisher.badly(
        "cd ~/app && nival push",
        &["published before", "demo/app:1 is revoked: leaks"],
    );
    assert_eq!(
        publisher.generations()["generations"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    publisher.push("two");
    assert_eq!(reasons(&publisher), [None, Some("leaks".to_owned())]);
}

#[test]
fn an_old_list_and_one_that_no_trusted_key_signed_are_refused() {
    require!(root, setup, programs);
    let mut publisher = Publisher::new();
    publisher.push("one");
    publisher.push("two");
    publisher.stack.hub.kill().unwrap();
    let data = publisher.stack.hub.data();
    let old = data.with_extension("old");
    testkit::run(Command::new("cp").arg("-a").args([&data, &old])).unwrap();
    publisher.stack.hub.resume().unwrap();
    publisher.well("nival revoke demo/app:1 --reason leaks");

    // Another person, who trusts no key of the owner yet.
    publisher.well(
        "mkdir -p /tmp/theirs/.config/nival && \
         sed '/^\\[trust\\]/,$d' ~/.config/nival/config.toml > /tmp/theirs/.config/nival/config.toml && \
         HOME=/tmp/theirs nival key generate theirs",
    );
    let theirs = "export HOME=/tmp/theirs NIVAL_SIGNING_KEY=theirs";
    for command in [
        "nival revocations demo",
        "nival revoke demo/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 --reason x",
    ] {
        let command = format!("{theirs}; {command}");
        publisher.badly(
            &command,
            &["revocation list of demo", "nival key trust demo"],
        );
    }

    publisher.stack.hub.kill().unwrap();
    fs_err::remove_dir_all(&data).unwrap();
    fs_err::rename(&old, &data).unwrap();
    publisher.stack.hub.resume().unwrap();
    let part = "gave no revocation list of demo, but one with sequence 1";
    for command in [
        "nival revocations demo",
        "nival rollback demo/app",
        "cd ~/app && echo '# three' >> .nival/manifest.toml && nival push",
    ] {
        publisher.badly(command, &[part]);
    }
    // What only shows something says it beside.
    let text = publisher.well("nival generations demo/app 2>&1");
    assert!(text.contains(part) && text.contains("NUMBER"), "{text}");
}

#[test]
fn a_new_key_takes_over_from_a_lost_one() {
    require!(root, setup, programs);
    let publisher = Publisher::new();
    let old = publisher.push("one");
    publisher.well("nival revoke demo/app:1 --reason leaks");
    // The lost key is trusted on where it was used, and no reader trusts it.
    let public = publisher.well("nival key generate second");
    publisher.well(&format!("nival key trust demo {}", public.trim()));
    publisher.well(&format!(
        "mkdir -p /tmp/reader/.config/nival && \
         sed '/^\\[trust\\]/,$d' ~/.config/nival/config.toml > /tmp/reader/.config/nival/config.toml && \
         HOME=/tmp/reader nival key trust demo {}",
        public.trim()
    ));
    let reads = |command: &str| format!("HOME=/tmp/reader {command}");
    let seconds = "export NIVAL_SIGNING_KEY=second";
    for command in ["nival revocations demo", "nival show demo/app"] {
        publisher.badly(&reads(command), &["demo", "not signed by a key"]);
    }
    publisher.well(&format!(
        "{seconds}; cd ~/app && echo '# two' >> .nival/manifest.toml && nival push demo/app && \
         nival revoke demo/app@sha256:{} --reason 'signed by a lost key'",
        "0".repeat(64)
    ));
    let listed = publisher.well(&reads("nival revocations demo"));
    for part in [&old[..19], "leaks", "signed by a lost key"] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let shown = publisher.well(&reads("nival show demo/app"));
    assert!(shown.contains("demo/app:2"), "{shown}");
    publisher.badly(&reads("nival show demo/app:1"), &["not signed by a key"]);
}
