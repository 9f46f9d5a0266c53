# Builds the root of a test machine inside fresh mount and process namespaces, then waits to be killed.
# $1: kind (laptop, node, plain-node or server); $2: the machine's folder; $3: the set-up folder; $4: the programs' folder;
# $5: the text of a plain node's `systemctl`
set -eu
kind=$1 base=$2 setup=$3 programs=$4 systemctl=$5
root=$base/root
mkdir -p "$root" "$base/var" "$base/home"
mount -t tmpfs -o mode=0755 tmpfs "$root"
cd "$root"

bind() { # a folder or link of the host at the same place
  if [ -L "$1" ]; then cp -P "$1" ".$1"; elif [ -d "$1" ]; then mkdir -p ".$1"; mount --rbind "$1" ".$1"; fi
}

lend() { # a folder of the host that the machine may read and must not change
  mkdir -p ".$2"
  mount --bind "$1" ".$2"
  mount -o remount,bind,ro ".$2"
}

mkdir proc run tmp etc root opt var
mount -t proc proc proc
mount -t tmpfs -o mode=0755 tmpfs run
mkdir run/lock
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir run/.etc run/.etc/upper run/.etc/work
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$root/run/.etc/upper,workdir=$root/run/.etc/work" etc
for one in /bin /lib /lib32 /lib64 /libx32 /sbin /usr /sys /dev; do bind "$one"; done
mkdir -p var/lib var/log var/tmp
mount --bind "$base/var" var/lib
mount --bind "$base/home" root
mkdir -p "./$base/shared" "$base/shared"
mount --bind "$base/shared" "./$base/shared"
if [ "$kind" != plain-node ]; then
  mkdir -p opt/nival
  # Tests of one crate bring their own build of its program, and need no static ones.
  if [ -d "$programs" ]; then lend "$programs" /opt/nival; fi
fi
# Kubernetes, and what wires its network, where set-up has come to that.
if [ "$kind" != laptop ]; then
  if [ -d "$setup/kubernetes" ]; then lend "$setup/kubernetes" /opt/kubernetes; fi
  # Where its programs look for their libraries.
  if [ -d "$setup/network" ]; then lend "$setup/network" "$setup/network"; fi
fi
case $kind in
  node | plain-node)
    # No Nix: neither its store nor a program of it can be reached from here.
    lend "$setup/node" /opt/node
    lend "$setup/cni/bin" /opt/cni/bin
    # As on a machine with systemd: volumes and their mounts reach containers that ask for them.
    mkdir -p var/lib/kubelet
    if [ "$kind" = plain-node ]; then
      # In front of the host's own `systemctl`, which has no systemd to speak to here.
      mount -t tmpfs -o mode=0755 tmpfs usr/local/sbin
      printf '%s' "$systemctl" >usr/local/sbin/systemctl
      chmod 0755 usr/local/sbin/systemctl
    fi
    ;;
  laptop)
    mkdir -p nix "./$setup"
    mount --bind "$setup" "./$setup"
    # Whatever clears this machine's home must not clear what all machines live on.
    mount -o remount,bind,ro "./$setup"
    mount --bind "$base/nix" nix
    ;;
  server) ;;
esac
mkdir .old
pivot_root . .old
umount -l /.old
rmdir /.old
cd /
case $kind in node | plain-node) mount --make-rshared / ;; esac
echo ready
# The machine's first process gets every orphan. Where it ignores their end, none stays as a zombie.
exec env --ignore-signal=CHLD sleep infinity
