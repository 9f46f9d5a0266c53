//! A hub that lies: what stands on its disk is altered, and the node must notice.

use std::path::PathBuf;

use fs_err as fs;
use serde_json::{Value, json};
use testkit::{PodSpec, Stack, require};

use crate::refusals::{assert_tells, refusal};

fn stack_with(names: &[&str]) -> Stack {
    let stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    for name in names {
        stack.publish(name, "greeting", "--public").unwrap();
    }
    stack
}

fn records(stack: &Stack, environment: &str) -> Vec<PathBuf> {
    let part = format!("/{environment}/generations/");
    let files = stack.hub.files_ending("").unwrap();
    let found: Vec<_> = files
        .into_iter()
        .filter(|path| path.to_string_lossy().contains(&part))
        .collect();
    assert!(
        !found.is_empty(),
        "the hub keeps records as files below {part}"
    );
    found
}

fn alter(path: &PathBuf, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

#[test]
fn an_unsigned_an_altered_and_a_foreign_record_are_refused() {
    require!(root, setup, programs);
    let stack = stack_with(&["unsigned", "altered", "foreign", "honest"]);
    let node = stack.node("node", "").unwrap();
    for path in records(&stack, "unsigned") {
        alter(&path, |record| record["signatures"] = json!([]));
    }
    for path in records(&stack, "altered") {
        alter(&path, |record| {
            let text = record["record"]
                .as_str()
                .unwrap()
                .replace("\"author\":\"", "\"author\":\"not ");
            record["record"] = json!(text);
        });
    }
    let honest = fs::read(&records(&stack, "honest")[0]).unwrap();
    for path in records(&stack, "foreign") {
        fs::write(&path, &honest).unwrap();
    }
    let error = |name: &str| {
        refusal(
            &node,
            &PodSpec::with_environment("app", &format!("demo/{name}")),
        )
    };
    assert_tells(&error("unsigned"), &["demo/unsigned", "not signed"]);
    assert_tells(&error("altered"), &["demo/altered"]);
    assert_tells(&error("foreign"), &["demo/foreign"]);
    node.run_pod(&PodSpec::with_environment("app", "demo/honest"))
        .unwrap()
        .remove()
        .unwrap();
}

#[test]
fn a_replayed_live_pointer_is_refused() {
    require!(root, setup, programs);
    let mut stack = stack_with(&["app"]);
    let node = stack.node("node", "").unwrap();
    // Whoever puts an old copy of the hub in its place replays an honest, signed pointer.
    stack.hub.kill().unwrap();
    let data = stack.hub.data();
    let script = |script: &str| {
        format!(
            "{script} {} {}",
            data.display(),
            data.with_extension("old").display()
        )
    };
    testkit::run(std::process::Command::new("sh").args(["-euc", &script("cp -a")])).unwrap();
    stack.hub.resume().unwrap();
    stack
        .laptop
        .shell("cd ~/app && nival install jq && nival push")
        .unwrap();
    let spec = PodSpec::with_environment("app", "demo/app");
    node.run_pod(&spec).unwrap().remove().unwrap();
    stack.hub.kill().unwrap();
    fs::remove_dir_all(&data).unwrap();
    fs::rename(data.with_extension("old"), &data).unwrap();
    stack.hub.resume().unwrap();
    assert_tells(&refusal(&node, &spec), &["demo/app", "sequence"]);
}

#[test]
fn a_corrupt_a_truncated_and_a_swapped_nar_are_refused_and_leave_nothing() {
    require!(root, setup, programs);
    for damage in ["corrupt", "truncated", "swapped"] {
        let stack = stack_with(&["app"]);
        let node = stack.node("node", "").unwrap();
        let record = stack.record("demo/app").unwrap();
        let closure = record["systems"]["x86_64-linux"]["closure"]
            .as_array()
            .unwrap();
        let greeting = closure.iter().find_map(|path| {
            path["path"]
                .as_str()
                .filter(|path| path.contains("greeting"))
        });
        let greeting = greeting.unwrap();
        let hash = &greeting["/nix/store/".len()..][..32];
        let (narinfo, nar) = stack.hub.cache_files(greeting).unwrap();
        let mut bytes = fs::read(&nar).unwrap();
        match damage {
            "corrupt" => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&nar, &bytes).unwrap();
            }
            "truncated" => fs::write(&nar, &bytes[..bytes.len() / 2]).unwrap(),
            _ => {
                let other = stack.hub.files_ending(".narinfo").unwrap();
                let other = other
                    .iter()
                    .find(|path| !path.ends_with(format!("{hash}.narinfo")))
                    .unwrap();
                fs::write(&narinfo, fs::read(other).unwrap()).unwrap();
            }
        }
        let error = refusal(&node, &PodSpec::with_environment("app", "demo/app"));
        assert_tells(&error, &[hash]);
        let left = node
            .machine()
            .shell(&format!(
                "find /var/lib/nival -path '*{hash}*' -type f | head -3"
            ))
            .unwrap();
        assert_eq!(left, "", "{damage}: nothing of it may stay");
    }
}
