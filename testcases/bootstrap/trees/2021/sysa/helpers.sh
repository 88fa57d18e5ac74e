# Build packages, say each step in the words of the era, and keep to the checksums of what is installed.
build() { # PACKAGE [SCRIPT] [CHECKSUMS]
    cd "${SOURCES}/$1" || { echo "Cannot cd into $1!"; return 1; }
    checksums=${3:-checksums}
    echo "$1: beginning build using script ${2:-$1.sh}"
    rm -rf build
    mkdir build
    cd build
    echo "$1: unpacking source."
    cp ../src/* .
    echo "$1: preparing source."
    echo "$1: configuring source."
    echo "$1: compiling source."
    echo "$1: installing."
    . "../${2:-$1.sh}"
    cd "${SOURCES}/$1"
    echo "$1: checksumming installed files."
    test ! -e "$checksums" || sha256sum -c "$checksums"
    echo "$1: build successful"
    cd "${SOURCES}"
}

populate_device_nodes() {
    mkdir -p /dev
    test -c /dev/null || mknod -m 666 /dev/null c 1 3
    test -c /dev/tty || mknod -m 666 /dev/tty c 5 0
}
