# Build packages, say each step in the words of the era, and keep to the checksums.
REPO=/usr/src/repo SRC=/steps DISTFILES=/external/distfiles
export PATH=/usr/bin
. /steps/bootstrap.cfg
set -e

check_sum() { # FILE SHA256
    if [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ]; then
        echo "${1##*/}: OK"
    else
        echo "${1##*/}: FAILED"
        echo "sha256sum: WARNING: 1 computed checksum did NOT match"
        return 1
    fi
}

get_sources() {
    while read -r _ url sum name; do
        file="${DISTFILES}/${name:-${url##*/}}"
        [ -e "$file" ] || curl --fail --retry 3 --location "$url" --output "$file" || true
        [ -e "$file" ] || { echo "$file does not exist!"; return 1; }
        check_sum "$file" "$sum" || return 1
    done <sources
}

build() { # PACKAGE [SCRIPT]
    cd "${SRC}/$1" || { echo "Cannot cd into $1!"; return 1; }
    revision=$(ls "$REPO" | grep -c "^$1_" || true)
    echo "$1: beginning build using script pass1.sh"
    echo "$1: getting sources."
    get_sources
    echo "$1: unpacking source."
    echo "$1: preparing source."
    echo "$1: configuring source."
    echo "$1: compiling source."
    . ./pass1.sh
    echo "$1: install to fakeroot."
    echo "$1: postprocess binaries."
    echo "$1: creating package."
    echo "made from $(cut -d' ' -f3 sources)" >"$REPO/$1_$revision.tar.bz2"
    echo "$1: checksumming created package."
    wanted=$(grep " $1_$revision.tar.bz2" "${SRC}/SHA256SUMS.pkgs" | cut -d' ' -f1)
    check_sum "$REPO/$1_$revision.tar.bz2" "$wanted"
    echo "$1: cleaning up."
    echo "$1: installing package."
    echo "$1: build successful"
    cd "$SRC"
}
