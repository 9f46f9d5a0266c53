//! Manifests that are printed, lines that are completed, and `kubectl` that finds its plugin.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use testkit::{poll, require, setup};

use super::administrator::{Administrator, deployment};

#[test]
fn printed_manifests_are_what_a_restricted_namespace_takes() {
    require!(root, setup, programs);
    let admin = Administrator::new();
    admin.publisher.push("one");
    admin
        .cluster
        .kubectl(&["create", "namespace", "strict"])
        .unwrap();
    let label = "pod-security.kubernetes.io/warn=restricted";
    admin
        .cluster
        .kubectl(&["label", "namespace", "strict", label])
        .unwrap();
    for (flags, kinds) in [
        (
            "--kind deployment --port 8080 --replicas 2 --track",
            ["Deployment", "Service"].as_slice(),
        ),
        (
            "--kind statefulset --port 6379 --storage 2Gi --pin",
            &["StatefulSet", "Service"],
        ),
        ("--kind daemonset", &["DaemonSet"]),
        ("--kind job --pin", &["Job"]),
        ("--kind cronjob --schedule '0 4 * * *'", &["CronJob"]),
    ] {
        let text = admin.well(&format!("init demo/app {flags} -- jq --arg 'a: b' true"));
        for kind in kinds {
            assert!(text.contains(&format!("kind: {kind}\n")), "{text}");
        }
        assert_eq!(
            text.contains("nival.dev/generation: demo/app:1@"),
            flags.contains("--pin"),
            "{text}"
        );
        let (_, talk) = admin.fed(
            &["-n", "strict", "apply", "--dry-run=server", "-f", "-"],
            &text,
        );
        assert!(!talk.contains("would violate"), "{talk}");
        // What was printed with a pin needs none.
        if flags.contains("--pin") {
            let file = admin
                .publisher
                .stack
                .laptop
                .stage("printed.yaml", &text)
                .unwrap();
            admin.well(&format!("pin --check {file}"));
        }
    }
    admin.badly(
        "init demo/app:1 --track -- jq",
        2,
        &["--track needs a reference without a number"],
    );
    admin.badly(
        "init demo/app --kind job --track -- jq",
        2,
        &["means nothing for a Job"],
    );
    admin.badly(
        "init demo/nothing --pin -- jq",
        1,
        &["no environment demo/nothing"],
    );
    let json = admin.well("init demo/app -o json -- jq");
    serde_json::from_str::<serde_json::Value>(&json).unwrap();
}

#[test]
fn lines_are_completed_by_shells_and_by_kubectl() {
    require!(root, setup, programs);
    let admin = Administrator::new();
    admin.publisher.push("one");
    let file = admin
        .publisher
        .stack
        .laptop
        .stage("web.yaml", &deployment("demo/app"))
        .unwrap();
    let pinned = admin.well(&format!("pin - < {file}"));
    admin.feed(&["apply", "-f", "-"], &pinned);
    // A cluster that answers late is no reason to let a person wait: then nothing is offered.
    let offers = |command: &str, fits: &dyn Fn(&str) -> bool| {
        let mut offered = String::new();
        let waited = poll("what is offered", || {
            offered = admin.shell(command);
            Ok(fits(&offered).then_some(()))
        });
        waited.unwrap_or_else(|error| panic!("{error}: `{command}` offers {offered:?}"));
    };
    offers("kubectl-nival __complete rollback d", &|text| {
        text == "deployment/web\n:4\n"
    });
    assert_eq!(admin.well("__complete -n kube-system rollback d"), ":4\n");
    offers("kubectl-nival __complete -n ''", &|text| {
        text.contains("kube-system\n")
    });
    assert_eq!(
        admin.well("__complete status --context ''"),
        "cluster\n:4\n"
    );
    assert_eq!(admin.well("__complete pin ''"), ":0\n");
    // A cluster that is not there is no reason to say anything.
    assert_eq!(
        admin.well("__complete --kubeconfig /nowhere rollback ''"),
        ":4\n"
    );

    let bash = "bash -c 'source <(kubectl-nival completion bash); COMP_WORDS=(kubectl-nival rollback dep); COMP_CWORD=2; _kubectl_nival; echo \"${COMPREPLY[@]}\"'";
    offers(bash, &|text| text == "deployment/web\n");
    for shell in ["zsh", "fish"] {
        assert!(
            admin
                .well(&format!("completion {shell}"))
                .contains("__complete")
        );
    }

    // `kubectl` itself finds the plugin, and what completes it.
    let folder = admin.publisher.stack.laptop.shared();
    let helper = folder.join("kubectl_complete-nival");
    fs_err::write(&helper, admin.well("completion kubectl")).unwrap();
    fs_err::set_permissions(&helper, Permissions::from_mode(0o755)).unwrap();
    let kubectl = setup::dir().join("kubernetes/bin/kubectl");
    let kubectl = kubectl.display();
    assert_eq!(
        admin.shell(&format!("{kubectl} nival status -o name")),
        "deployment.apps/web\n"
    );
    let complete = format!("{kubectl} __complete nival rollback dep 2>/dev/null");
    offers(&complete, &|text| text.starts_with("deployment/web\n"));
}
