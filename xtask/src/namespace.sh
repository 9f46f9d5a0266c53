# Runs a command where /nix is a folder of the caller's choice, or is not there at all. The host's own / stays as it is.
# $1: an empty folder to build the new root on; $2: what /nix is to be, or nothing; the rest: the command
set -eu
root=$1 nix=$2 here=$PWD
shift 2
mount -t tmpfs -o mode=0755 tmpfs "$root"
for entry in /* /.[!.]*; do
  case $entry in /nix) continue ;; esac
  if [ -L "$entry" ]; then
    cp -P "$entry" "$root$entry"
  elif [ -d "$entry" ]; then
    mkdir "$root$entry"
    mount --rbind "$entry" "$root$entry"
  elif [ -f "$entry" ]; then
    : >"$root$entry"
    mount --bind "$entry" "$root$entry"
  fi
done
if [ -n "$nix" ]; then
  mkdir "$root/nix"
  mount --bind "$nix" "$root/nix"
fi
mkdir "$root/.old"
cd "$root"
pivot_root . .old
umount -l /.old
rmdir /.old
cd "$here"
exec "$@"
