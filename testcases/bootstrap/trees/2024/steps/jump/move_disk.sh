# The disk that booted is partitioned behind its first GiB, and takes over; another one has all distfiles.
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/lib/modules-sysb/$module"; done </lib/modules-sysb/order
until [ -e "/dev/$DISK" ] && [ -e /dev/sda ]; do usleep 100000; done
mkdir -p /mnt /disk
mount -t ext3 -o ro "/dev/$DISK" /mnt
cp /mnt/distfiles/* /external/distfiles/
umount /mnt
echo "Creating partition table..."
printf 'o\nn\np\n1\n2097152\n\nw\n' | fdisk -u /dev/sda >/dev/null
until [ -e /dev/sda1 ]; do usleep 100000; done
echo "Creating ext4 partition..."
mke2fs /dev/sda1 >/dev/null
mount -t ext4 /dev/sda1 /disk
for entry in /*; do
    case "$entry" in
        /disk | /mnt | /dev | /proc) mkdir -p "/disk$entry" ;;
        *) cp -a "$entry" /disk/ ;;
    esac
done
printf '#!/usr/bin/busybox sh\nexec /usr/bin/busybox sh /steps/%s.sh\n' "$next" >/disk/init
exec switch_root /disk /init
