//! Publishing to the real hub, and going back to what was published before.

use std::process::Command;

use testkit::require;

use crate::publisher::Publisher;

#[test]
fn a_rollback_goes_where_it_is_told_or_one_back() {
    require!(root, setup, programs);
    let publisher = Publisher::new();
    let digests: Vec<String> = ["one", "two", "three"]
        .iter()
        .map(|text| publisher.push(text))
        .collect();
    let live = || publisher.generations()["live"].as_u64().unwrap();
    assert_eq!(live(), 3);
    publisher.well("nival rollback demo/app");
    assert_eq!(live(), 2);
    // What was live before is generation 3, which somebody went back from.
    publisher.well("nival rollback demo/app");
    assert_eq!(live(), 1);
    publisher.badly("nival rollback demo/app", &["before 1", "--to"]);

    publisher.well(&format!("nival rollback demo/app@{}", digests[2]));
    assert_eq!(live(), 3);
    publisher.badly(
        &format!("nival rollback demo/app@{} --to 2", digests[0]),
        &["demo/app:2"],
    );
    publisher.badly("nival rollback demo/app:1 --to 2", &["--to 2"]);
    assert_eq!(live(), 3);
}

#[test]
fn nothing_is_published_after_a_replayed_past() {
    require!(root, setup, programs);
    let mut publisher = Publisher::new();
    publisher.push("one");
    publisher.stack.hub.kill().unwrap();
    let data = publisher.stack.hub.data();
    let old = data.with_extension("old");
    testkit::run(Command::new("cp").arg("-a").args([&data, &old])).unwrap();
    publisher.stack.hub.resume().unwrap();
    publisher.push("two");
    publisher.stack.hub.kill().unwrap();
    fs_err::remove_dir_all(&data).unwrap();
    fs_err::rename(&old, &data).unwrap();
    publisher.stack.hub.resume().unwrap();

    publisher.badly(
        "cd ~/app && echo '# three' >> .nival/manifest.toml && nival push demo/app",
        &["demo/app", "sequence 1, but 2"],
    );
    let there = publisher.generations();
    assert_eq!(there["generations"].as_array().unwrap().len(), 1, "{there}");
}

#[test]
fn nothing_is_published_after_what_no_trusted_key_signed() {
    require!(root, setup, programs);
    let publisher = Publisher::new();
    publisher.push("one");
    // Another person of the same owner, who was told no key yet.
    publisher.well(
        "mkdir -p /tmp/theirs/.config/nival && cp -r ~/app /tmp/theirs/ && \
         sed '/^\\[trust\\]/,$d' ~/.config/nival/config.toml > /tmp/theirs/.config/nival/config.toml",
    );
    publisher.badly(
        "export HOME=/tmp/theirs NIVAL_SIGNING_KEY=theirs; cd ~/app && nival key generate theirs && \
         echo '# two' >> .nival/manifest.toml && nival push demo/app",
        &["live pointer of demo/app", "nival key trust demo"],
    );
    let there = publisher.generations();
    assert_eq!(there["generations"].as_array().unwrap().len(), 1, "{there}");
}
