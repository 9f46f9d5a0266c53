#!/bin/busybox sh
# The first program of the guest: finds the disk and hands over to the system on it.
set -e
/bin/busybox mount -t devtmpfs dev /dev
for module in virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk; do
  /bin/busybox insmod "/$module.ko"
done
tries=0
while ! [ -b /dev/vda ] || ! [ -b /dev/vdb ]; do
  tries=$((tries + 1))
  if [ "$tries" -gt 1000 ]; then echo "the guest's disks did not come"; exit 1; fi
  /bin/busybox usleep 10000
done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox mount -t ext4 /dev/vdb /root/test
/bin/busybox insmod /root/lib/modules/overlay.ko
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /lib/systemd/systemd
