# What the commands below mean. Nothing but a POSIX shell and the programs that are named here does anything.

die() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 1
}

say() {
    printf '%s\n' "$*" >&3
}

need() {
    for program; do
        command -v "$program" >/dev/null 2>&1 || die "the program $program is not installed; nothing was made"
    done
}

# find_xxd: the xxd that is a file, as one that is built into a shell cannot write at offsets.
find_xxd() {
    xxd=
    rest=$PATH:
    while [ -n "$rest" ] && [ -z "$xxd" ]; do
        place=${rest%%:*}
        rest=${rest#*:}
        [ ! -x "$place/xxd" ] || xxd=$place/xxd
    done
    new=$out/.tried
    : >"$new" || die "cannot write to $out"
    echo '00000002: 4142' | "$xxd" -r -c 32 - "$new" 2>/dev/null || :
    [ "$("$xxd" -p "$new" 2>/dev/null)" = 00004142 ] ||
        die "there is no xxd that writes bytes at an offset (\`xxd -r\`), as the one of Vim does; nothing was made"
    rm -f "$new"
}

# begin NAME: write an image. What is printed from here on is its content; it has its name when it is whole.
begin() {
    new=$out/.$1.unfinished
    say "making $1"
    exec >"$new" || die "cannot write $new"
    inode=0
}

# finish NAME SHA256: the image has to have this hash, or it is not made.
finish() {
    exec >&3
    sum=$(sha256sum <"$new") || die "cannot read $new"
    [ "${sum%% *}" = "$2" ] || die "$1 came out with the sha256 ${sum%% *}, and it has to be $2; it was not kept"
    mv "$new" "$out/$1" || die "cannot give $1 its name"
    new=
    say "$2  $1"
}

# --- cpio archives (initramfs images): for each file a header in ASCII, its name, its content, each padded
# --- with zeros to a multiple of 4 bytes. Inodes are numbered from 1 on. ---

# header INODE MODE UID GID LINKS SIZE MAJOR MINOR PATH
header() {
    printf '070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\0' \
        "$1" "$2" "$3" "$4" "$5" "$mtime" "$6" 0 0 "$7" "$8" $((${#9} + 1)) 0 "$9"
    pad $((110 + ${#9} + 1))
}

# pad SIZE: zeros behind so many bytes.
pad() {
    case $(($1 % 4)) in
    1) printf '\0\0\0' ;;
    2) printf '\0\0' ;;
    3) printf '\0' ;;
    esac
}

# directory MODE UID GID PATH
directory() {
    inode=$((inode + 1))
    header "$inode" $((0040000 + $1)) "$2" "$3" 2 0 0 0 "$4"
}

# file MODE UID GID SIZE PATH CONTENT
file() {
    inode=$((inode + 1))
    header "$inode" $((0100000 + $1)) "$2" "$3" 1 "$4" 0 0 "$5"
    [ "$4" = 0 ] || cat -- "$6" || die "cannot copy $6"
    pad "$4"
}

# text MODE UID GID SIZE PATH: a file whose content follows.
text() {
    file "$@" -
}

# linked INODE LINKS MODE UID GID SIZE PATH [CONTENT]: one of several names of a file; the last has the content.
linked() {
    inode=$((inode + 1))
    header "$1" $((0100000 + $3)) "$4" "$5" "$2" "$6" 0 0 "$7"
    [ "$6" = 0 ] || cat -- "$8" || die "cannot copy $8"
    pad "$6"
}

# symlink MODE UID GID PATH TARGET
symlink() {
    inode=$((inode + 1))
    header "$inode" $((0120000 + $1)) "$2" "$3" 1 ${#5} 0 0 "$4"
    printf '%s' "$5"
    pad ${#5}
}

# special TYPE-AND-MODE UID GID MAJOR MINOR PATH: a device node (type 020000: character, 060000: block) or FIFO.
special() {
    inode=$((inode + 1))
    header "$inode" "$1" "$2" "$3" 1 0 "$4" "$5" "$6"
}

# trailer: the end of an archive.
trailer() {
    (mtime=0 && header 0 0 0 0 1 0 0 0 'TRAILER!!!')
}

# zeros COUNT
zeros() {
    dd if=/dev/zero bs=1 count="$1" 2>/dev/null || die "cannot write zeros"
}

# --- disks and ISO images: contents are copied to their places; all else is written out as hexadecimal
# --- numbers. What is not mentioned is zero. ---

# size BYTES: the image is so large.
size() {
    dd if=/dev/null of="$new" bs=1 count=0 seek="$1" 2>/dev/null || die "cannot make $new $1 bytes large"
}

# copied FROM TO BLOCK SKIP COUNT SEEK: all in blocks of so many bytes.
copied() {
    dd if="$1" of="$2" bs="$3" skip="$4" count="$5" seek="$6" conv=notrunc 2>/dev/null ||
        die "cannot copy $1 into $2"
}

# put OFFSET SKIP SIZE CONTENT: bytes of a file, from SKIP on, at an offset of the image. Where they are not
# whole blocks, they are the last ones of the file.
put() {
    unit=4096
    [ $(($1 % unit + $2 % unit)) = 0 ] || unit=512
    copied "$4" "$new" "$unit" $(($2 / unit)) $((($3 + unit - 1) / unit)) $(($1 / unit))
}

# put_text OFFSET: a text that follows.
put_text() {
    dd of="$new" bs=1 seek="$1" conv=notrunc 2>/dev/null || die "cannot write to $new"
}

# hex: lines of an offset in the image and the bytes there, both hexadecimal; # begins a comment.
hex() {
    grep -v '^#' | "$xxd" -r -c 32 - "$new" || die "cannot write to $new"
}

# again OFFSET FROM: the 4096 bytes that already stand at FROM.
again() {
    copied "$new" "$new" 4096 $(($2 / 4096)) 1 $(($1 / 4096))
}

# ones OFFSET COUNT: so many bytes with all bits set.
ones() {
    dd if=/dev/zero bs=1 count="$2" 2>/dev/null | tr '\0' '\377' |
        dd of="$new" bs=1 seek="$1" conv=notrunc 2>/dev/null || die "cannot write to $new"
}

# numbers OFFSET WIDTH FIRST COUNT: FIRST, FIRST + 1 and so on, in so many bytes each, the lowest byte first.
numbers() {
    number=$3
    while [ "$number" -lt $(($3 + $4)) ]; do
        printf '%x: %02x%02x' $(($1 + (number - $3) * $2)) $((number & 255)) $((number >> 8 & 255))
        [ "$2" = 2 ] || printf '%02x%02x' $((number >> 16 & 255)) $((number >> 24 & 255))
        echo
        number=$((number + 1))
    done | "$xxd" -r -c 32 - "$new" || die "cannot write to $new"
}

# --- disks of builder-hex0 ---

# hex0 SOURCE: the bytes that hex0 source stands for: digits, with comments behind # and ;.
hex0() {
    sed 's/[#;].*//' "$1" | "$xxd" -r -p || die "cannot read $1"
}

# src SIZE PATH [CONTENT]: a file, or with the size 0 a directory, as builder-hex0 loads it.
src() {
    printf 'src %d %s\n' "$1" "$2"
    [ "$1" = 0 ] || cat -- "$3" || die "cannot copy $3"
}
