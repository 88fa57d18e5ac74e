#!/bin/sh
# Makes the images of @recipe@, without the harness, with nothing but a POSIX shell and plain tools.
#
#   sh build.sh [DIRECTORY]      writes them there; without a directory, to images/ beside this script
#
# What they are made from lies in inputs/ beside this script, or where the environment variable INPUTS
# says. Each file has its sha256 below, which is checked before anything is made, and each image has to come
# out with the sha256 that stands at its end. An image has its name only when that is so. Other programs can
# say what is in it: `cpio -tv`, `e2fsck -fn`, `debugfs`, `bsdtar -tv`.
#
@origins@
set -eu
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
umask 022
exec 3>&1
case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
in=${INPUTS:-$here/inputs}
out=${1:-$here/images}
new=
trap '[ -z "$new" ] || rm -f "$new"' EXIT
trap 'exit 130' HUP INT TERM

