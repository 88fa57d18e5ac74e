# The configuration becomes a part of a kaem script: bare VAR=value lines are all that it can have.
/sysa/distfiles/busybox-1.35.0 cat "$2" "$3" >"$1"
