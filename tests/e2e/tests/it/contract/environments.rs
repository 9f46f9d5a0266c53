//! Which containers get which environment, and what they see of it.

use std::collections::BTreeSet;

use testkit::PodSpec;

use super::{BUSYBOX, PLACEHOLDER, Scene};

pub(super) fn closure_is_whole_and_read_only(scene: &Scene<'_>) {
    let (pod, container) = scene.sleeper("closure");
    let record = scene.stack.record("demo/app").unwrap();
    let closure = record["systems"]["x86_64-linux"]["closure"]
        .as_array()
        .unwrap();
    let wanted: BTreeSet<&str> = closure
        .iter()
        .filter_map(|path| path["path"].as_str()?.strip_prefix("/nix/store/"))
        .collect();
    let listing = pod.exec(&container, &["ls", "/nix/store"]).unwrap();
    assert_eq!(listing.lines().collect::<BTreeSet<_>>(), wanted);
    let write = "f=$(readlink -f $(command -v ls)); (echo x >> $f) 2>&1; (touch $(dirname $f)/new) 2>&1; \
                 (touch /nix/store/new) 2>&1; true";
    let text = pod.exec(&container, &["sh", "-c", write]).unwrap();
    assert_eq!(text.matches("Read-only file system").count(), 3, "{text}");
    pod.remove().unwrap();
}

pub(super) fn containers_have_environments_of_their_own(scene: &Scene<'_>) {
    let spec = scene
        .spec("pair")
        .annotated("environment.nival.dev/query", "demo/web");
    let pod = scene.run(&spec);
    let main = pod
        .container("main", PLACEHOLDER, &["sleep", "600"])
        .unwrap();
    let (code, text) = pod
        .run_to_end("query", PLACEHOLDER, &["jq", "-n", "40 + 2"])
        .unwrap();
    assert_eq!((code, text.trim()), (0, "42"));
    let look = "command -v jq || echo none; echo $NIVAL_ENVIRONMENT";
    let text = pod.exec(&main, &["sh", "-c", look]).unwrap();
    assert!(text.starts_with("none\ndemo/app:1@sha256:"), "{text}");
    pod.remove().unwrap();
}

pub(super) fn an_environment_is_layered_onto_a_real_image(scene: &Scene<'_>) {
    let spec = scene
        .spec("layered")
        .annotated("environment.nival.dev/layered", "demo/web");
    let pod = scene.run(&spec);
    let script = "jq -n 6*7; ls /bin/busybox; echo $PATH";
    let (code, text) = pod
        .run_to_end("layered", BUSYBOX, &["sh", "-c", script])
        .unwrap();
    assert_eq!(code, 0, "{text}");
    assert!(
        text.starts_with("42\n/bin/busybox\n/nix/store/"),
        "the environment's programs come first: {text}"
    );
    assert!(text.trim_end().ends_with(":/bin"), "{text}");
    pod.remove().unwrap();
}

/// A sidecar with a real image, a container that is excluded, a pod without annotations, a pod of plain runc.
pub(super) fn others_are_left_alone(scene: &Scene<'_>) {
    let look = "ls -A /nix/store 2>/dev/null | wc -l; echo $PATH$NIVAL_ENV";
    let spec = scene
        .spec("others")
        .annotated("environment.nival.dev/excluded", "none");
    let plain = PodSpec::plain("plain", scene.handler).below(&scene.parent.path());
    let runc = PodSpec::plain("runc", "runc").below(&scene.parent.path());
    for (spec, container) in [
        (&spec, "sidecar"),
        (&spec, "excluded"),
        (&plain, "main"),
        (&runc, "main"),
    ] {
        let pod = scene.run(spec);
        let (code, text) = pod
            .run_to_end(container, BUSYBOX, &["/bin/sh", "-c", look])
            .unwrap();
        assert_eq!(
            (code, text.as_str()),
            (0, "0\n/bin\n"),
            "{}: {container}",
            spec.name
        );
        pod.remove().unwrap();
    }
}
