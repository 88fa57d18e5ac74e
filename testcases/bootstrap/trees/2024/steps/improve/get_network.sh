[ -e /proc/self ] || mount -t proc proc /proc
