# Runs a command in a root where nothing is mounted but store paths.
# $1: the paths, one a line; the rest: variables and the command
set -eu
paths=$1 root=/nix/var/alone
shift
mkdir -p $root
mount -t tmpfs tmpfs $root
for path in $paths; do
  mkdir -p $root$path
  mount --bind "$path" $root$path
done
mkdir $root/dev
mount --bind /dev $root/dev
variables=
while case $1 in *=*) true ;; *) false ;; esac; do variables="$variables $1"; shift; done
# The variables are set outside: there is no env inside.
exec env -i $variables "$(command -v chroot)" $root "$@"
