//! A pod from an environment is a pod like any other.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use testkit::{Failure, poll};

use crate::{Stage, Story, ensure, ensure_tells};

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "a-pod-from-an-environment-is-a-pod-like-any-other",
        tell: like_any_other,
    },
    Story {
        name: "services-and-names-lead-to-pods-from-environments",
        tell: services,
    },
    Story {
        name: "an-ordinary-pod-runs-beside-it",
        tell: ordinary,
    },
    Story {
        name: "limits-hold-and-their-breach-is-told",
        tell: limits,
    },
];

const SERVER: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: server
  labels: {app: server}
  annotations:
    nival.dev/environment: demo/app
spec:
  runtimeClassName: nival
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: nival.dev/placeholder:v1
      command: [sh, -c, 'mkdir /tmp/www && echo from-the-environment >/tmp/www/index.html && cd /tmp/www && exec python3 -u -m http.server 8000']
      readinessProbe:
        httpGet: {path: /, port: 8000}
        periodSeconds: 1
      livenessProbe:
        exec: {command: [test, -f, /tmp/www/index.html]}
        periodSeconds: 2
        timeoutSeconds: 10
";

fn like_any_other(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.apply(SERVER)?;
    stage.ready("server")?;

    let version = stage.exec("server", "python3 --version && ls /nix/store | wc -l")?;
    ensure_tells(&version, &["Python 3."])?;
    let record = stage.stack.record("demo/app")?;
    let closure = record["systems"]["x86_64-linux"]["closure"]
        .as_array()
        .map_or(0, Vec::len);
    ensure_tells(&version, &[&format!("\n{closure}\n")])?;

    let page = forwarded(stage)?;
    ensure_tells(&page, &["from-the-environment"])?;
    stage.said("server", "main", "GET /")?;

    // The liveness probe runs inside of the environment too, and its failure restarts the container.
    stage.exec("server", "rm /tmp/www/index.html")?;
    poll("the kubelet to restart the container", || {
        let count = stage.get("server", "{.status.containerStatuses[0].restartCount}")?;
        Ok((count != "0").then_some(()))
    })?;
    stage.ready("server")?;

    stage.kubectl(&["delete", "pod", "server", "--timeout=30s"])?;
    let left = stage.kubectl(&["get", "pods", "-o", "name"])?;
    ensure(left.is_empty(), || format!("still there: {left}"))
}

/// Returns a page of the server, by way of `kubectl port-forward`.
fn forwarded(stage: &Stage) -> Result<String, Failure> {
    let mut forward = stage
        .cluster
        .kubectl_command()?
        .args(["port-forward", "pod/server", ":8000"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    // Kept until the end: it says something for every connection, and would not outlive a closed pipe.
    let mut output = forward.stdout.take().map(BufReader::new);
    if let Some(output) = &mut output {
        output.read_line(&mut line)?;
    }
    // "Forwarding from 127.0.0.1:41234 -> 8000"
    let address = line.split_whitespace().nth(2).unwrap_or_default();
    let page = stage.stack.world.get(address, "/");
    forward.kill()?;
    forward.wait()?;
    page.map(|(_, body)| body)
}

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata:
  name: front
spec:
  selector: {app: server}
  ports: [{port: 80, targetPort: 8000}]
";

const CLIENT: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: client
  annotations:
    nival.dev/environment: demo/app
spec:
  runtimeClassName: nival
  restartPolicy: Never
  containers:
    - name: main
      image: nival.dev/placeholder:v1
      command:
        - python3
        - -c
        - |
          import time, urllib.request
          last = None
          for _ in range(150):
              try:
                  print(urllib.request.urlopen('http://front', timeout=5).read().decode())
                  break
              except OSError as error:
                  last = error
                  time.sleep(0.2)
          else:
              raise SystemExit(f'the service never answered: {last}')
";

fn services(stage: &mut Stage) -> Result<(), Failure> {
    stage.kubectl(&[
        "rollout",
        "status",
        "deployment/coredns",
        "-n",
        "kube-system",
        "--timeout=60s",
    ])?;
    stage.cluster.apply(SERVER)?;
    stage.cluster.apply(SERVICE)?;
    stage.ready("server")?;
    let page = stage.run_to_end("client", CLIENT)?;
    ensure_tells(&page, &["from-the-environment"])
}

const ORDINARY: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: ordinary
spec:
  RUNTIME
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: nival.local/busybox:1
      command: [sh, -c, 'test ! -e /nix/store/.nival && ls /nix/store | wc -l && sleep 600']
";

fn ordinary(stage: &mut Stage) -> Result<(), Failure> {
    // By the node's default runtime, and through Nival's shim without any environment.
    for runtime in ["", "runtimeClassName: nival"] {
        stage.cluster.apply(&ORDINARY.replace("RUNTIME", runtime))?;
        stage.ready("ordinary")?;
        let logs = stage.said("ordinary", "main", "\n")?;
        ensure(logs.trim() == "0", || {
            format!("an ordinary pod sees store paths: {logs}")
        })?;
        stage.kubectl(&["delete", "pod", "ordinary", "--timeout=30s"])?;
    }
    Ok(())
}

const GREEDY: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: greedy
  annotations:
    nival.dev/environment: demo/app
spec:
  runtimeClassName: nival
  restartPolicy: Never
  containers:
    - name: main
      image: nival.dev/placeholder:v1
      command: [python3, -c, 'data = [bytearray(1 << 20) for _ in range(4096)]']
      resources:
        limits: {memory: 64Mi, cpu: 500m}
";

fn limits(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.apply(GREEDY)?;
    let path = "{.status.containerStatuses[0].state.terminated.reason}";
    let reason = poll("the pod to be ended", || {
        let reason = stage.get("greedy", path)?;
        Ok((!reason.is_empty()).then_some(reason))
    })?;
    ensure(reason == "OOMKilled", || {
        format!("it ended for {reason:?} instead of OOMKilled")
    })
}
