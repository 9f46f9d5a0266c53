//! Pods as security policies want them: any user, nothing writable, no capability, and volumes of every kind.

use testkit::Failure;

use crate::{Stage, Story, ensure, ensure_tells};

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "a-restricted-pod-runs",
        tell: restricted,
    },
    Story {
        name: "a-pod-with-its-own-user-namespace-runs",
        tell: user_namespace,
    },
    Story {
        name: "a-pod-in-the-hosts-namespaces-runs",
        tell: host_namespaces,
    },
    Story {
        name: "containers-that-share-processes-run",
        tell: shared_processes,
    },
    Story {
        name: "volumes-of-every-kind-are-there",
        tell: volumes,
    },
];

const RESTRICTED: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: restricted
  annotations:
    nival.dev/environment: demo/app
spec:
  runtimeClassName: nival
  restartPolicy: Never
  securityContext:
    runAsNonRoot: true
    runAsUser: 12345
    runAsGroup: 23456
    fsGroup: 34567
    seccompProfile: {type: RuntimeDefault}
  volumes: [{name: scratch, emptyDir: {}}]
  containers:
    - name: main
      image: nival.dev/placeholder:v1
      command:
        - sh
        - -ec
        - |
          id -u; id -g; id -G
          python3 -c 'import os, pwd; print(pwd.getpwuid(os.getuid()).pw_name)'
          while read -r name value; do
            case $name in CapEff:|Seccomp:) echo $name $value ;; esac
          done </proc/self/status
          touch /new 2>&1 || echo the root is read-only
          touch /scratch/new; stat -c %g /scratch/new
      securityContext:
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        capabilities: {drop: [ALL]}
      volumeMounts: [{name: scratch, mountPath: /scratch}]
";

fn restricted(stage: &mut Stage) -> Result<(), Failure> {
    let told = stage.run_to_end("restricted", RESTRICTED)?;
    ensure_tells(
        &told,
        &[
            "12345\n23456\n23456 34567\n",
            "\nCapEff: 0000000000000000\n",
            "\nSeccomp: 2\n",
            "the root is read-only",
            "\n34567\n",
        ],
    )
}

const OWN_USERS: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: own-users
  annotations:
    nival.dev/environment: demo/app
spec:
  runtimeClassName: nival
  hostUsers: false
  restartPolicy: Never
  containers:
    - name: main
      image: nival.dev/placeholder:v1
      command:
        - sh
        - -ec
        - |
          id -u
          cat /proc/self/uid_map
          python3 -c 'print(40 + 2)'
          touch /tmp/new /root/new; stat -c %u /tmp/new /etc/passwd
          touch /nix/store/new 2>&1 || echo the closure is read-only
";

fn user_namespace(stage: &mut Stage) -> Result<(), Failure> {
    let told = stage.run_to_end("own-users", OWN_USERS)?;
    let mut lines = told.lines();
    let (user, map) = (lines.next(), lines.next().unwrap_or_default());
    let on_host = map.split_whitespace().nth(1).unwrap_or("0");
    ensure(user == Some("0") && on_host != "0", || {
        format!("root in the pod is {on_host} on the host: {told}")
    })?;
    ensure_tells(&told, &["\n42\n0\n0\n", "the closure is read-only"])
}

const HOST: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: on-host
  annotations:
    nival.dev/environment: demo/app
spec:
  runtimeClassName: nival
  hostNetwork: true
  hostPID: true
  restartPolicy: Never
  containers:
    - name: main
      image: nival.dev/placeholder:v1
      command:
        - python3
        - -c
        - |
          import os, socket
          def name(process):
              try:
                  return open(f'/proc/{process}/comm').read().strip()
              except OSError:  # It has ended meanwhile.
                  return ''
          names = {name(one) for one in os.listdir('/proc') if one.isdigit()}
          print('sees the kubelet:', 'kubelet' in names)
          socket.create_connection(('127.0.0.1', 10248), timeout=5)
          print('reaches the kubelet')
";

fn host_namespaces(stage: &mut Stage) -> Result<(), Failure> {
    let told = stage.run_to_end("on-host", HOST)?;
    ensure_tells(&told, &["sees the kubelet: True", "reaches the kubelet"])
}

const SHARED: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: shared
  annotations:
    nival.dev/environment: demo/app
spec:
  runtimeClassName: nival
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 1
  containers:
    - name: first
      image: nival.dev/placeholder:v1
      command: [sleep, '601']
    - name: second
      image: nival.dev/placeholder:v1
      command: [sleep, '602']
";

fn shared_processes(stage: &mut Stage) -> Result<(), Failure> {
    stage.cluster.apply(SHARED)?;
    stage.ready("shared")?;
    let script = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '";
    let seen = stage.exec("shared", script)?;
    ensure_tells(&seen, &["sleep 601", "sleep 602"])?;
    stage
        .kubectl(&["delete", "pod", "shared", "--timeout=30s"])
        .map(drop)
}

const VOLUMES: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello from a map}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {word: sesame}
---
apiVersion: v1
kind: Pod
metadata:
  name: volumes
  annotations:
    nival.dev/environment: demo/app
spec:
  runtimeClassName: nival
  restartPolicy: Never
  volumes:
    - {name: scratch, emptyDir: {}}
    - {name: memory, emptyDir: {medium: Memory}}
    - {name: settings, configMap: {name: settings}}
    - name: all
      projected:
        sources:
          - secret: {name: hidden}
          - serviceAccountToken: {path: token, audience: somebody}
          - downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}
  containers:
    - name: main
      image: nival.dev/placeholder:v1
      env:
        - {name: WORD, valueFrom: {secretKeyRef: {name: hidden, key: word}}}
      command:
        - sh
        - -ec
        - |
          cat /settings/greeting; echo; cat /one/greeting; echo
          cat /all/word; echo; echo $WORD; cat /all/name; echo
          test -s /all/token && echo a token
          echo x >/scratch/x; echo y >/scratch/sub/y; cat /sub/y
          while read -r source place kind rest; do
            case $place in /memory) echo in $kind ;; esac
          done </proc/mounts
          test -s /var/run/secrets/kubernetes.io/serviceaccount/ca.crt && echo an authority
      volumeMounts:
        - {name: scratch, mountPath: /scratch}
        - {name: scratch, mountPath: /sub, subPath: sub}
        - {name: memory, mountPath: /memory}
        - {name: settings, mountPath: /settings}
        - {name: settings, mountPath: /one/greeting, subPath: greeting}
        - {name: all, mountPath: /all}
";

fn volumes(stage: &mut Stage) -> Result<(), Failure> {
    let told = stage.run_to_end("volumes", VOLUMES)?;
    ensure_tells(
        &told,
        &[
            "hello from a map\nhello from a map\nsesame\nsesame\nvolumes\na token\ny\n",
            "in tmpfs",
            "an authority",
        ],
    )
}
