# Runs in the guest. Each fact is one line that the test reads; what else is said is for a person to read.
fact() { echo "FACT $1=$2"; }
until_says() { # a text, then a command: waits until the command's output has the text
  text=$1 tries=0
  shift
  while ! "$@" 2>&1 | grep -q "$text"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ]; then echo "waited in vain for $text: $*"; "$@" || true; return 1; fi
    usleep 200000
  done
}
show() { systemctl show --property "$2" --value "$1"; }
scopes() { systemctl list-units --all --plain --no-legend 'cri-containerd-*' | wc -l; }
groups() { find /sys/fs/cgroup -name 'cri-containerd-*' | wc -l; }
trap 'for unit in containerd agent hub; do journalctl --no-pager --lines 30 --unit $unit || true; done' EXIT

fact cgroups "$(cat /sys/fs/cgroup/cgroup.controllers)"
printf "127.0.0.1 localhost guest\n" > /etc/hosts
: > /etc/resolv.conf
mkdir -p /etc/nival /etc/containerd /opt/nival /root/.local/share
cp /test/agent.toml /etc/nival/
cp /test/containerd.toml /etc/containerd/config.toml
cp /test/crictl.yaml /etc/
cp -r /test/hub /root/.local/share/nival-hub
ln -s /test/bin/containerd-shim-nival-v2 /opt/nival/
cp -r /test/crun /opt/
service() { # a name, then a command
  unit=$1
  shift
  systemd-run --quiet --unit "$unit" --property Delegate=yes --property KillMode=process \
    --setenv PATH="$PATH" --setenv HOME=/root "$@"
}
# On the second disk: the overlay file system wants one that is no overlay, with room.
mkdir -p /var/lib/containerd /var/lib/nival
service containerd /test/bin/containerd
service hub /test/bin/nival-hub serve
service agent /test/bin/nival-agent serve
until_says RuntimeVersion crictl version
for image in /test/images/*.tar; do
  ctr --namespace k8s.io images import --label io.cri-containerd.pinned=pinned "$image" >/dev/null
done
until_says closures nival-agent status --json
until_says 200 wget -S -O /dev/null http://127.0.0.1:7878/readyz

for handler in nival nival-own nival-crun; do
  pod=$(crictl runp --cancel-timeout 300s --runtime "$handler" /test/pod.json)
  main=$(crictl create "$pod" /test/main.json /test/pod.json)
  crictl start "$main" >/dev/null
  scope=cri-containerd-$main.scope
  process=$(crictl inspect --output go-template --template '{{.info.pid}}' "$main")
  fact "$handler.group" "$(cat "/proc/$process/cgroup")"
  fact "$handler.scope" "$(show "$scope" ActiveState)"
  fact "$handler.exec" "$(crictl exec "$main" sh -c 'echo $NIVAL_ENVIRONMENT')"
  fact "$handler.inside" "$(crictl exec "$main" sh -c 'cat /proc/self/cgroup')"
  fact "$handler.limit.before" "$(show "$scope" MemoryMax)"
  crictl update --memory 67108864 "$main" >/dev/null
  fact "$handler.limit.after" "$(show "$scope" MemoryMax)"
  fact "$handler.limit.kernel" "$(crictl exec "$main" cat /sys/fs/cgroup/memory.max)"
  until_says 'usageCoreNanoSeconds' crictl stats --output json "$main"
  fact "$handler.stats" "$(crictl stats --output json "$main" | tr -d ' \n')"

  greedy=$(crictl create "$pod" /test/greedy.json /test/pod.json)
  crictl start "$greedy" >/dev/null
  until_says EXITED crictl inspect "$greedy"
  until_says OOMKilled crictl inspect "$greedy"
  fact "$handler.oom" "$(crictl inspect --output go-template --template '{{.status.reason}} {{.status.exitCode}}' "$greedy")"

  crictl stop --timeout 0 "$main" >/dev/null
  crictl stopp "$pod" >/dev/null
  crictl rmp "$pod" >/dev/null
  # systemd removes what is empty in its own time.
  until_says '^0$' scopes
  until_says '^0$' groups
  fact "$handler.scopes.left" "$(scopes)"
  fact "$handler.groups.left" "$(groups)"
done
fact done yes
