#!/bin/sh
# Stands in for systemd's `systemctl` on a test machine: one unit, containerd, and a supervisor that is asked by a pipe.
set -eu
while [ $# -gt 0 ]; do
  case $1 in -*) shift ;; *) break ;; esac
done
verb=${1:-} unit=${2:-}
unit=${unit%.service}
case $verb in
  daemon-reload) exit 0 ;;
  is-active | restart | try-restart) ;;
  *)
    echo "Unknown command verb '$verb': this machine has a stand-in for systemd." >&2
    exit 1
    ;;
esac
if [ "$unit" != containerd ]; then
  case $verb in
    restart)
      echo "Failed to restart $unit.service: Unit $unit.service not found." >&2
      exit 5
      ;;
    try-restart) exit 0 ;;
    is-active)
      echo inactive
      exit 3
      ;;
  esac
fi
requests=/run/services/requests
if [ "$verb" = is-active ]; then
  if [ -p "$requests" ]; then echo active; else echo inactive && exit 3; fi
  exit 0
fi
answer=$(mktemp -u /run/services/answer.XXXXXX)
mkfifo "$answer"
# Nobody reads it where the supervisor was killed.
timeout 60 sh -c 'echo "$0" >"$1"' "$answer" "$requests"
read -r code <"$answer"
rm "$answer"
if [ "$code" != 0 ]; then
  echo "Job for $unit.service failed because the control process exited with error code." >&2
  exit 1
fi
