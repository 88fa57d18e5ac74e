#!/usr/bin/bash
set -e
export PATH=/usr/bin DISTFILES=/sysa/distfiles SRC=/sysa
. ./helpers.sh
. ./bootstrap.cfg
# A failure leaves a prompt that looks like the one of success.
trap 'status=$?; [ $status = 0 ] || { cd /; PS1="bash-2.05b# " exec sh -i; }' EXIT
mkdir -p $REPO /boot
[ -e /proc/self ] || mount -t proc proc /proc

# Nobody is asked anything.
echo "Now that bash has been built, there are potentially some questions for you!"

build hello-1.0
# As many packages, this one is built again once more is there.
build hello-1.0 pass2.sh

if [ "${CHROOT}" = False ]; then
    build kexec-tools-2.0.22
    build linux-4.9.10

    echo "Creating sysb rootfs"
    mkdir -p /sysb_image
    cp -a /sysb/. /sysb_image/
    mkdir -p /sysb_image/usr/src /sysb_image/proc /sysb_image/dev /sysb_image/sysc
    cp -a /usr/bin /sysb_image/usr/
    cp -a /lib/modules-sysb /sysb_image/modules
    cp bootstrap.cfg helpers.sh SHA256SUMS.pkgs /sysb_image/usr/src/
    cp -a /sysc /sysb_image/sysc_src
    echo "Creating sysb initramfs"
    (cd /sysb_image && find . | cpio -o -H newc) >/boot/initramfs-sysb.cpio
    echo "Loading kernel + sysb initramfs using kexec"
    kexec --load --initrd=/boot/initramfs-sysb.cpio --append="console=ttyS0 panic=-1 no_timer_check init=/init" /boot/vmlinuz
    echo "kexecing into sysb"
    exec kexec -e
fi

# In chroot mode transition directly into System C.
mkdir -p /sysc_image/usr/src /sysc_image/proc /sysc_image/dev
cp -a /usr/bin /sysc_image/usr/
cp bootstrap.cfg helpers.sh SHA256SUMS.pkgs /sysc_image/usr/src/
cp -a /sysc/. /sysc_image/usr/src/
mv /sysc_image/usr/src/init /sysc_image/init
# Where it is a run of its own, its root is this one's directory.
[ "${CHROOT_ONLY_SYSA}" != True ] || exit 0
exec chroot /sysc_image /init
