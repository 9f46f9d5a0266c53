//! What is refused, in the words that `kubectl apply` shows.

use fs_err as fs;
use serde_json::{Value, json};

use crate::stage::{Stage, web, workload};

fn naming(reference: &str) -> Value {
    workload(
        "Deployment",
        "web",
        &json!({"nival.dev/environment": reference}),
    )
}

/// Checks that it is refused in these words, in one line, and that nothing was made.
fn refused(stage: &Stage, manifest: &Value, words: &[&str]) {
    let said = stage.refused(manifest);
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert!(said.contains("workloads.nival.dev"), "{said}");
    assert!(stage.cluster.kubectl(&["get", "deployment/web"]).is_err());
}

#[test]
fn references_that_lead_nowhere_are_refused_with_the_next_step() {
    testkit::require!(root, setup, programs);
    let stage = Stage::start();
    stage.stack.publish("secret", "jq", "").unwrap();
    refused(
        &stage,
        &naming("demo/webb"),
        &[
            "environment demo/webb is not visible to namespace default",
            "check its name",
            "nival push --public",
            "[[allow]]",
        ],
    );
    refused(
        &stage,
        &naming("demo/secret"),
        &["environment demo/secret is not visible to namespace default"],
    );
    refused(
        &stage,
        &naming("demo/web:9"),
        &[
            "generation demo/web:9 does not exist at the hub",
            "or push it",
        ],
    );
    let wrong = stage.pin(1).replace(":1@", ":2@");
    refused(
        &stage,
        &naming(&wrong),
        &["record is of demo/web:1, not of demo/web:2"],
    );
    refused(
        &stage,
        &naming("demo"),
        &[
            "annotation nival.dev/environment cannot be understood",
            "expected owner/name",
        ],
    );
    refused(
        &stage,
        &naming("hub.example.com/demo/web"),
        &[
            "this cluster asks http://127.0.0.1:7878 only",
            "leave the hub out",
        ],
    );
    let stranger = workload(
        "Deployment",
        "web",
        &json!({"environment.nival.dev/wbe": "demo/web"}),
    );
    refused(
        &stage,
        &stranger,
        &["environment.nival.dev/wbe names a container that the pod does not have (it has: web)"],
    );
    let mut mode = web("Deployment", "web");
    mode["spec"]["template"]["metadata"]["annotations"]["nival.dev/activate-mode"] =
        "production".into();
    refused(
        &stage,
        &mode,
        &["nival.dev/activate-mode", "\"run\", \"dev\""],
    );
    let disagreeing = workload(
        "Deployment",
        "web",
        &json!({"nival.dev/environment": "demo/other", "nival.dev/generation": stage.pin(1)}),
    );
    refused(
        &stage,
        &disagreeing,
        &["pins demo/web:1@", "asks for demo/other", "make them agree"],
    );
    // A rule with a credential opens what is private, for the namespaces that it names and for no other.
    let token = stage.stack.hub.token("demo", &["--scope", "read"]).unwrap();
    stage.kubectl(&[
        "create",
        "secret",
        "generic",
        "hub",
        "-n",
        "nival-system",
        &format!("--from-literal=token={token}"),
    ]);
    stage.configure(
        "[[allow]]\nnamespaces = [\"default\"]\nenvironments = [\"demo/*\"]\ncredential = \"demo\"\n[credentials.demo]\nsecret = \"nival-system/hub\"\n",
    );
    let taken = testkit::poll("the new policy", || {
        let output = stage.with_manifest(&["apply"], &naming("demo/secret"));
        Ok(output.status.success().then_some(()))
    });
    taken.unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
    stage.kubectl(&["create", "namespace", "strangers"]);
    let mut elsewhere = naming("demo/secret");
    elsewhere["metadata"]["namespace"] = "strangers".into();
    let said = stage.refused(&elsewhere);
    assert!(
        said.contains("is not visible to namespace strangers"),
        "{said}"
    );
}

#[test]
fn what_is_revoked_or_signed_by_strangers_is_refused_also_as_a_pin() {
    testkit::require!(root, setup, programs);
    let stage = Stage::without_operator("[revocations]\nevery_seconds = 1\n");
    let mut stage = stage;
    stage.start_operator(&[]);
    let pin = stage.pin(1);
    stage.push();
    stage
        .stack
        .laptop
        .shell("nival revoke demo/web:1 --reason 'it leaks'")
        .unwrap();
    for reference in ["demo/web:1", &pin] {
        refused(
            &stage,
            &naming(reference),
            &[
                "generation demo/web:1 is revoked: it leaks",
                "push a newer one",
            ],
        );
    }
    stage.apply(&workload(
        "Deployment",
        "other",
        &json!({"nival.dev/environment": "demo/web"}),
    ));
    // What went in before does not come back by undo either.
    let by_hand = workload(
        "Deployment",
        "web",
        &json!({"nival.dev/environment": "demo/web", "nival.dev/generation": pin}),
    );
    refused(&stage, &by_hand, &["is revoked"]);
    // Another key under the same name, as somebody in the middle would have.
    let other = "[revocations]\nevery_seconds = 1\n";
    stage.configure(other);
    let file = stage.config_file();
    let text = fs::read_to_string(&file).unwrap();
    let key = stage.stack.public_key().unwrap();
    let stranger = "demo-1:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    fs::write(&file, text.replace(&key, stranger)).unwrap();
    let said =
        testkit::poll("the other key to be trusted", || {
            let output = stage.with_manifest(&["apply", "--dry-run=server"], &naming("demo/web"));
            Ok((!output.status.success())
                .then(|| String::from_utf8_lossy(&output.stderr).into_owned()))
        });
    let said = said.unwrap();
    assert!(said.contains("the signature of key demo-1"), "{said}");
    fs::write(
        &file,
        text.replace(&key, &stranger.replace("demo-1", "other-1")),
    )
    .unwrap();
    let said = testkit::poll("a key of another name to be trusted", || {
        let output = stage.with_manifest(&["apply", "--dry-run=server"], &naming("demo/web"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(said
            .contains("is not signed by a key trusted for owner demo")
            .then_some(said))
    });
    assert!(said.unwrap().contains("trust its key in [trust]"));
}

#[test]
fn a_generation_without_the_system_of_the_nodes_is_refused() {
    testkit::require!(root, setup, programs);
    let stage = Stage::start();
    let node = |name: &str, architecture: &str| {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {
            "kubernetes.io/arch": architecture, "nival.dev/node": "ready",
        }}})
    };
    let mut selecting = naming("demo/web");
    let select = |architecture: &str| json!({"kubernetes.io/arch": architecture});
    selecting["spec"]["template"]["spec"]["nodeSelector"] = select("arm64");
    refused(
        &stage,
        &selecting,
        &[
            "generation demo/web:1 has nothing for aarch64-linux (it has: x86_64-linux)",
            "nodeSelector",
        ],
    );
    stage.apply(&node("intel", "amd64"));
    stage.apply(&node("arm", "arm64"));
    let said =
        testkit::poll("the nodes to be seen", || {
            let output = stage.with_manifest(&["apply", "--dry-run=server"], &naming("demo/web"));
            Ok((!output.status.success())
                .then(|| String::from_utf8_lossy(&output.stderr).into_owned()))
        });
    assert!(said.unwrap().contains("has nothing for aarch64-linux"));
    selecting["spec"]["template"]["spec"]["nodeSelector"] = select("amd64");
    stage.apply(&selecting);
}

#[test]
fn odd_things_are_admitted_with_a_warning() {
    testkit::require!(root, setup, programs);
    let stage = Stage::start();
    let mut unused = web("Deployment", "unused");
    unused["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx".into();
    let said = stage.apply(&unused);
    assert!(
        said.contains("Warning: no container runs in the environment of nival.dev/environment"),
        "{said}"
    );
    let mut class = web("Deployment", "class");
    class["spec"]["template"]["spec"]["runtimeClassName"] = "gvisor".into();
    let said = stage.apply(&class);
    assert!(
        said.contains("Warning: runtimeClassName is gvisor"),
        "{said}"
    );
}
