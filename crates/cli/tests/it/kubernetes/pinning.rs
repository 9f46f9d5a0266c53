//! Pins in git: what a developer writes is what the cluster keeps.

use serde_json::Value;
use testkit::require;

use super::administrator::{Administrator, deployment};

fn pins(admin: &Administrator) -> Value {
    admin.get(&["deployment", "web"])["spec"]["template"]["metadata"]["annotations"].take()
}

#[test]
fn a_pinned_manifest_is_applied_without_drift_and_pinned_anew_on_demand() {
    require!(root, setup, programs);
    let admin = Administrator::new();
    let first = admin.publisher.push("one");
    let manifest = admin.publisher.stack.laptop.shared().join("web.yaml");
    let file = manifest.to_str().unwrap();
    let text = deployment("demo/app");
    fs_err::write(&manifest, &text).unwrap();
    admin.badly(
        &format!("pin --check {file}"),
        3,
        &["demo/app", "no pin", "deployment/web"],
    );
    assert_eq!(
        fs_err::read_to_string(&manifest).unwrap(),
        text,
        "a check changes nothing"
    );

    admin.well(&format!("pin {file}"));
    let pinned = fs_err::read_to_string(&manifest).unwrap();
    let expected = text
        .replace(
            "demo/app # what it runs\n",
            &format!(
                "demo/app # what it runs\n        nival.dev/generation: demo/app:1@{first}\n        nival.dev/pinned-from: demo/app\n"
            ),
        )
        .replace("    spec:\n", "    spec:\n      runtimeClassName: nival\n")
        .replace("- name: web\n", "- name: web\n          image: nival.dev/placeholder:v1\n");
    assert_eq!(pinned, expected);
    admin.well(&format!("pin --check {file}"));

    // What is applied is what the server keeps: a second diff finds nothing, and neither does the plugin.
    admin.feed(&["apply", "--server-side", "-f", "-"], &pinned);
    admin.differs_nowhere(&["--server-side"], &pinned);
    admin.feed(&["apply", "-f", "-"], &pinned);
    admin.differs_nowhere(&[], &pinned);
    assert_eq!(pins(&admin)["nival.dev/pinned-from"], "demo/app");

    // A newer generation changes nothing by itself; asked for, it does.
    let second = admin.publisher.push("two");
    admin.well(&format!("pin {file}"));
    assert_eq!(fs_err::read_to_string(&manifest).unwrap(), pinned);
    admin.badly(&format!("pin --check --update {file}"), 3, &["demo/app:2@"]);
    admin.well(&format!("pin --update {file}"));
    let updated = fs_err::read_to_string(&manifest).unwrap();
    assert_eq!(
        updated,
        pinned.replace(
            &format!("demo/app:1@{first}"),
            &format!("demo/app:2@{second}")
        )
    );

    // Another reference makes the pin stale, and standard input is a file, too.
    fs_err::write(
        &manifest,
        updated.replace("demo/app # what", "demo/app:1 # what"),
    )
    .unwrap();
    admin.badly(&format!("pin --check {file}"), 3, &["demo/app:1"]);
    let out = admin.well(&format!("pin - < {file}"));
    assert!(out.contains(&format!("demo/app:1@{first}")), "{out}");
    assert!(out.contains("pinned-from: demo/app:1\n"), "{out}");
    assert!(out.contains("# not ours"), "{out}");
}

#[test]
fn what_cannot_be_pinned_leaves_all_files_as_they_were() {
    require!(root, setup, programs);
    let admin = Administrator::new();
    let digest = admin.publisher.push("one");
    let folder = admin.publisher.stack.laptop.shared().join("manifests");
    fs_err::create_dir_all(&folder).unwrap();
    let good = folder.join("a.yaml");
    fs_err::write(&good, deployment("demo/app")).unwrap();
    let bad = folder.join("b.yaml");
    let path = folder.to_str().unwrap();
    for (text, parts) in [
        (deployment("demo/nothing"), ["b.yaml", "demo/nothing"]),
        (deployment("{{ .Values.reference }}"), ["b.yaml", "helm template"]),
        (
            deployment("demo/app").replace("app: web\n      annotations", "app: web\n      annotations: &a\n          x: y\n      more: *a\n      annotations"),
            ["b.yaml", "annotations"],
        ),
        (
            deployment("demo/app").replace("    spec:\n", "    spec:\n      nodeSelector: {kubernetes.io/arch: arm64}\n"),
            ["b.yaml", "aarch64-linux"],
        ),
        (
            deployment("demo/app").replace("# not ours", "environment.nival.dev/wbe: demo/app"),
            ["b.yaml", "wbe"],
        ),
    ] {
        fs_err::write(&bad, &text).unwrap();
        admin.badly(&format!("pin {path}"), 1, &parts);
        assert_eq!(fs_err::read_to_string(&good).unwrap(), deployment("demo/app"));
        assert_eq!(fs_err::read_to_string(&bad).unwrap(), text);
    }
    // What was revoked is not pinned.
    fs_err::remove_file(&bad).unwrap();
    admin
        .publisher
        .well("nival revoke demo/app:1 --reason 'a hole'");
    admin.badly(&format!("pin {path}"), 1, &["revoked: a hole"]);
    admin.publisher.well("nival revoke --undo demo/app:1");
    admin.well(&format!("pin {path}"));
    assert!(fs_err::read_to_string(&good).unwrap().contains(&digest));
}
