# Runs the on-activate hook ($0), then the command ("$@"). What the hook exports, the command gets.
# The hook talks on standard error, so that `nival activate -- CMD | …` carries the command's output alone.
exec 3>&1 1>&2
eval "$0"
__nival_status=$?
exec 1>&3 3>&-
if [ "$__nival_status" -ne 0 ]; then
  printf 'nival: the on-activate hook failed with status %s\n' "$__nival_status" >&2
  exit "$__nival_status"
fi
unset __nival_status
exec "$@"
