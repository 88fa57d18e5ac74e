if [ "$CHROOT" = False ]; then
    sync
    echo u >/proc/sysrq-trigger
    echo o >/proc/sysrq-trigger
    while true; do sleep 1; done
fi
