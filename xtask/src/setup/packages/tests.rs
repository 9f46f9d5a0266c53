//! What the test packages promise to those who test with them.

use std::collections::BTreeSet;

use fs_err as fs;
use serde_json::Value;

use super::smoke::run_alone;
use super::{build, nix};
use crate::setup::step::Steps;

fn evaluate(expression: &str) -> Value {
    let revisions = testkit::setup::dir().join("packages/revisions");
    let bindings = format!(
        "let revision = name: import ({} + \"/${{name}}\"); in ",
        revisions.display()
    );
    let text = nix(&[
        "eval",
        "--impure",
        "--json",
        "--expr",
        &(bindings + expression),
    ])
    .unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn numpy_works_only_with_what_its_propagated_inputs_name() {
    testkit::require!(root, setup);
    let steps = Steps::of(&testkit::setup::dir());
    let paths = build(&steps, "r1", "default.nix", &["python3", "numpy"]).unwrap();
    let module_path = format!("PYTHONPATH={}/lib/python3.11/site-packages", paths[1]);
    let python = format!("{}/bin/python3", paths[0]);
    let words = [&*module_path, &*python, "-c", "import numpy"];
    let error = run_alone(&paths, &words).unwrap_err().to_string();
    assert!(error.contains("No module named 'threadpoolctl'"), "{error}");
}

#[test]
fn every_path_in_the_cache_is_signed_and_its_references_are_there() {
    testkit::require!(setup);
    let cache = testkit::setup::cache_dir();
    let names = fs::read_dir(&cache)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let hashes: BTreeSet<String> = names
        .filter_map(|name| Some(name.strip_suffix(".narinfo")?.to_owned()))
        .collect();
    assert!(hashes.len() > 60, "{} paths", hashes.len());
    for hash in &hashes {
        let text = fs::read_to_string(cache.join(format!("{hash}.narinfo"))).unwrap();
        assert!(text.contains("\nSig: nival-test-1:"), "{text}");
        let references = text
            .lines()
            .find_map(|line| line.strip_prefix("References: "))
            .unwrap_or_default();
        for reference in references.split_whitespace() {
            assert!(
                hashes.contains(&reference[..32]),
                "{reference} of {hash} is missing"
            );
        }
    }
}

#[test]
fn another_system_has_other_paths_and_lacks_what_is_made_for_one_alone() {
    testkit::require!(root, setup);
    let of = |system: &str| {
        let set = format!("revision \"r1\" {{ system = \"{system}\"; }}");
        evaluate(&format!(
            "let set = {set}; in {{ path = set.numpy.outPath; names = builtins.attrNames set; }}"
        ))
    };
    let (here, there) = (of("x86_64-linux"), of("aarch64-linux"));
    assert_ne!(here["path"], there["path"]);
    let names =
        |set: &Value| -> BTreeSet<String> { serde_json::from_value(set["names"].clone()).unwrap() };
    let missing: Vec<String> = names(&here).difference(&names(&there)).cloned().collect();
    assert_eq!(missing, ["only-x86"]);
}

#[test]
fn revisions_differ_in_what_they_say_and_in_nothing_else() {
    testkit::require!(root, setup);
    let of = |revision: &str| {
        evaluate(&format!(
            "let set = revision \"{revision}\" {{ system = \"x86_64-linux\"; }}; \
             in builtins.mapAttrs (_: one: one.outPath or null) set"
        ))
    };
    let (older, newer) = (of("r1"), of("r2"));
    let names = older
        .as_object()
        .unwrap()
        .keys()
        .chain(newer.as_object().unwrap().keys());
    let changed: BTreeSet<&str> = names
        .filter(|name| older[*name] != newer[*name])
        .map(String::as_str)
        .collect();
    assert_eq!(
        Vec::from_iter(changed),
        ["greeting", "motd", "newcomer", "retired"]
    );
}
