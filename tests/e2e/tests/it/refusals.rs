//! Pods that must not start, each with its cause in one line of the runtime's error.

use testkit::{Node, PodSpec, Stack, require};

/// Returns the error that a pod's start gives.
pub(crate) fn refusal(node: &Node, spec: &PodSpec) -> String {
    match node.run_pod(spec) {
        Ok(pod) => {
            pod.remove().unwrap();
            panic!("the pod started: {spec:?}");
        }
        Err(error) => error.to_string(),
    }
}

/// Fails unless the error has all these words on one line.
#[track_caller]
pub(crate) fn assert_tells(error: &str, words: &[&str]) {
    let found = error
        .lines()
        .any(|line| words.iter().all(|word| line.contains(word)));
    assert!(found, "no line with {words:?} in:\n{error}");
}

#[test]
fn wrong_references_and_hostile_annotations_are_refused_by_name() {
    require!(root, setup, programs);
    let stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    stack.publish("app", "bash", "--public").unwrap();
    let node = stack.node("node", "").unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    let missing = format!("demo/app@{digest}");
    for (reference, words) in [
        ("demo/unknown", &["demo/unknown"][..]),
        ("demo/app:99", &["demo/app:99"]),
        (missing.as_str(), &[digest.as_str()]),
        ("../../etc", &["nival.dev/environment"]),
        ("demo/app\nnamespace: evil", &["nival.dev/environment"]),
        ("not a reference", &["nival.dev/environment"]),
    ] {
        let error = refusal(&node, &PodSpec::with_environment("app", reference));
        assert_tells(&error, words);
    }
    let long = "a".repeat(300_000);
    let error = refusal(&node, &PodSpec::with_environment("app", &long));
    assert_tells(&error, &["nival.dev/environment"]);
    assert!(
        error.len() < 10_000,
        "the hostile value is not repeated whole"
    );

    // A pin that contradicts its reference is stale.
    let spec = PodSpec::with_environment("app", "demo/app")
        .annotated("nival.dev/pinned-from", "demo/other 2026-11-23T22:00:00Z")
        .annotated("nival.dev/generation", &format!("demo/app:1@{digest}"));
    assert_tells(
        &refusal(&node, &spec),
        &["nival.dev/generation", "pinned", "demo/other"],
    );
}

#[test]
fn policy_decides_who_may_use_a_private_environment() {
    require!(root, setup, programs);
    let stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    stack.publish("secret", "bash coreutils", "").unwrap();
    let token = stack.hub.token("demo", &["--scope", "read"]).unwrap();
    let policy = "[[allow]]\nnamespaces = [\"friends\"]\nenvironments = [\"demo/*\"]\ncredential = \"hub\"\n\
                  [credentials.hub]\ntoken_file = \"/var/lib/token\"\n";
    let token_file = "umask 077; cat > /var/lib/token";
    let node = stack.node("node", policy).unwrap();
    node.machine()
        .shell(&format!("printf %s '{token}' | ({token_file})"))
        .unwrap();

    let spec = PodSpec::with_environment("app", "demo/secret");
    assert_tells(&refusal(&node, &spec), &["demo/secret", "default"]);
    let pod = node.run_pod(&spec.clone().in_namespace("friends")).unwrap();
    let (code, text) = pod
        .run_to_end(
            "main",
            testkit::PLACEHOLDER,
            &["sh", "-c", "env; ls -R /run 2>/dev/null"],
        )
        .unwrap();
    assert_eq!(code, 0);
    assert!(!text.contains(&token), "no credential reaches the workload");
    pod.remove().unwrap();
    // Being on the node does not make it free for all.
    assert_tells(&refusal(&node, &spec), &["demo/secret", "default"]);
}

#[test]
fn a_key_that_nobody_trusts_signs_in_vain() {
    require!(root, setup, programs);
    let stack = Stack::start().unwrap();
    stack.make_key().unwrap();
    let node = stack.node("node", "").unwrap();
    let script =
        "sed -i s/demo-1/stranger-1/ ~/.config/nival/config.toml; nival key generate stranger-1";
    stack.laptop.shell(script).unwrap();
    stack.publish("app", "bash", "--public").unwrap();
    let error = refusal(&node, &PodSpec::with_environment("app", "demo/app"));
    assert_tells(
        &error,
        &[
            "not signed by a key trusted for owner demo",
            "stranger-1",
            "demo-1",
        ],
    );
}
