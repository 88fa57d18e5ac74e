if [ -d /steps/after ]; then
    for script in $(find /steps/after -maxdepth 1 -type f -name '*.sh' | sort); do
        bash "$script"
    done
fi
if [ "$CHROOT" = False ]; then
    sync
    echo u >/proc/sysrq-trigger
    echo o >/proc/sysrq-trigger
    while true; do sleep 1; done
fi
