#!/bin/busybox sh
# Builds @ROOT@
# @COUNT@ derivations, one after the other, as the daemon of @STORE@ would. These have to be there before:
@INPUTS@
# Each is called with the environment, directory and files that stand here, and with nothing else; then its
# outputs become read-only files of time 1 and user 0, as in any store. The one tool is a static busybox.

PATH=/nowhere
umask @UMASK@
busybox() { /bin/busybox "$@"; }
fail() { echo "derivation: $name failed: $*"; exit 1; }

# begin NUMBER NAME DIRECTORY: an empty directory to build in
begin() {
    name=$2 directory=$3
    echo "derivation: $1/@COUNT@ $name"
    busybox rm -rf "$directory"
    busybox mkdir -p "$directory" && busybox chmod 700 "$directory" && cd "$directory" || fail "no $directory"
}
# file NAME TEXT: a file in that directory
file() { printf '%s' "$2" >"$1" && busybox chmod 600 "$1" || fail "no file $1"; }
# ours: gives the directory to the builder
ours() { [ -z "$as" ] || busybox chown -R @UID@:@GID@ "$directory"; }
# made OUTPUT...: what the builder has to have made
made() {
    cd /
    for output; do
        [ -e "$output" ] || [ -L "$output" ] || fail "it made no $output"
        [ -z "$as" ] || busybox chown -hR 0:0 "$output"
        busybox find "$output" -type d -exec /bin/busybox chmod 555 {} +
        busybox find "$output" -type f -perm -100 -exec /bin/busybox chmod 555 {} +
        busybox find "$output" -type f ! -perm -100 -exec /bin/busybox chmod 444 {} +
        busybox find "$output" -exec /bin/busybox touch -hd @1 {} +
    done
    busybox rm -rf "$directory"
    busybox rm -rf /tmp/* /tmp/.[!.]*
}

busybox find @STORE@ -mindepth 1 -exec /bin/busybox touch -hd @1 {} +
busybox hostname @HOSTNAME@ 2>/dev/null
# bwrap has no other user than root.
as="-c @UID@:@GID@"
builder="/bin/busybox start-stop-daemon -S -p /none"
$builder $as -x /bin/busybox -a busybox -- true 2>/dev/null || as=
