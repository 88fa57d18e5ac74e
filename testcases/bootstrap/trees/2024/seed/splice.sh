/external/distfiles/busybox-1.35.0 cat "$2" "$3" >"$1"
