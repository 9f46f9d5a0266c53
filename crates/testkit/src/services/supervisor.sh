# Runs containerd as systemd does, which leaves its shims alone: a restart is a signal to the daemon and a new one.
# $1: the daemon; the rest: a command that succeeds when the daemon is ready
set -u
daemon=$1
shift
rm -rf /run/services
mkdir -p /run/services
start() { # it dies with this supervisor
  setpriv --pdeathsig KILL "$daemon" 3<&- &
  process=$!
}
mkfifo /run/services/requests
exec 3<>/run/services/requests
start
while read -r answer <&3; do
  kill -TERM "$process"
  wait "$process"
  start
  code=1
  # As long as systemd gives a service to start. A daemon that refuses its configuration ends at once.
  for _ in $(seq 900); do
    if "$@" >/dev/null 2>&1; then
      code=0
      break
    fi
    kill -0 "$process" 2>/dev/null || break
    sleep 0.1
  done
  # Whoever asked may be gone: a container that is killed when its containerd is restarted.
  timeout 10 sh -c 'echo "$0" >"$1"' "$code" "$answer" || rm -f "$answer"
done
