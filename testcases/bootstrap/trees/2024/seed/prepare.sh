box=/external/distfiles/busybox-1.35.0
$box mkdir -p /usr/bin /usr/src/repo /proc /dev /boot /tmp
$box cp $box /usr/bin/busybox
/usr/bin/busybox --install -s /usr/bin
