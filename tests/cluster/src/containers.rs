//! Containers of one pod: with environments of their own, on ordinary images, or with none at all.

use testkit::Failure;

use crate::{Stage, Story, ensure, ensure_tells};

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "containers-of-a-pod-have-what-their-annotations-say",
        tell: each_its_own,
    },
    Story {
        name: "init-containers-and-sidecars-with-images-stay-as-they-are",
        tell: sidecars,
    },
];

const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: several
  annotations:
    nival.dev/environment: demo/app
    environment.nival.dev/query: demo/query
    environment.nival.dev/layered: demo/query
    environment.nival.dev/excluded: none
    exec-outside.nival.dev/layered: \"true\"
spec:
  runtimeClassName: nival
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: nival.dev/placeholder:v1
      command: [sh, -c, 'python3 --version; command -v jq || echo no jq; exec sleep 600']
    - name: query
      image: nival.dev/placeholder:v1
      command: [jq, -n, --stream, --unbuffered, '\"jq runs\", (range(0; infinite) | empty)']
    - name: layered
      image: nival.local/busybox:1
      command: [sh, -c, 'command -v jq; readlink -f /bin/sh; echo $PATH; exec sleep 600']
    - name: excluded
      image: nival.local/busybox:1
      command: [sh, -c, 'command -v jq || echo no jq; ls /nix/store | wc -l; exec sleep 600']
";

fn each_its_own(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.apply(POD)?;
    stage.ready("several")?;
    let said = |container: &str, last: &str| stage.said("several", container, last);
    ensure_tells(&said("main", "no jq\n")?, &["Python 3."])?;
    said("query", "jq runs")?;
    // The environment comes first, and the image's own programs stay.
    let layered = said("layered", "/bin\n")?;
    let lines: Vec<&str> = layered.lines().collect();
    let path = lines.get(2).copied().unwrap_or_default();
    ensure(
        lines
            .first()
            .is_some_and(|line| line.starts_with("/nix/store/") && line.ends_with("/jq"))
            && lines.get(1) == Some(&"/bin/busybox")
            && path.starts_with("/nix/store/")
            && path.ends_with("/bin"),
        || format!("the layered container says: {layered}"),
    )?;
    let excluded = said("excluded", "\n0\n")?;
    ensure(excluded == "no jq\n0\n", || {
        format!("the excluded container says: {excluded:?}")
    })?;
    let outside = stage.kubectl(&[
        "exec",
        "several",
        "-c",
        "layered",
        "--",
        "sh",
        "-c",
        "command -v jq || echo outside",
    ])?;
    ensure_tells(&outside, &["outside"])
}

const SIDECARS: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: helped
  annotations:
    nival.dev/environment: demo/app
spec:
  runtimeClassName: nival
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  volumes:
    - name: shared
      emptyDir: {}
  initContainers:
    - name: prepare
      image: nival.local/busybox:1
      command: [sh, -c, 'ls /nix/store | wc -l >/shared/seen; busybox | head -1 >>/shared/seen']
      volumeMounts: [{name: shared, mountPath: /shared}]
    - name: sidecar
      image: nival.local/busybox:1
      restartPolicy: Always
      command: [sh, -c, 'while true; do date +%s >/shared/beat; sleep 1; done']
      volumeMounts: [{name: shared, mountPath: /shared}]
    - name: prepare-inside
      image: nival.dev/placeholder:v1
      command: [python3, -c, 'print(\"prepared inside\", file=open(\"/shared/seen\", \"a\"))']
      volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
    - name: main
      image: nival.dev/placeholder:v1
      command: [sh, -c, 'cat /shared/seen; until test -s /shared/beat; do sleep 0.1; done; echo the sidecar beats']
      volumeMounts: [{name: shared, mountPath: /shared}]
";

fn sidecars(stage: &mut Stage) -> Result<(), Failure> {
    let told = stage.run_to_end("helped", SIDECARS)?;
    ensure(told.starts_with("0\nBusyBox"), || {
        format!("the init container with an image says: {told}")
    })?;
    ensure_tells(&told, &["prepared inside", "the sidecar beats"])
}
