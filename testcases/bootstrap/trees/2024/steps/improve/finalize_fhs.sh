# A mount that is refused ends the run: who may not mount has to find all of it there.
mount | grep -q ' /sys ' || (mkdir -p /sys; mount -t sysfs sysfs /sys)
mount | grep -q ' /tmp ' || (mkdir -p /tmp; mount -t tmpfs tmpfs /tmp)
