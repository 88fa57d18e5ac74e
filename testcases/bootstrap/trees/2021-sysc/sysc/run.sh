#!/usr/bin/bash
set -e
. ./helpers.sh
. ./bootstrap.cfg

export PREFIX=/usr
export SOURCES=/usr/src
export PATH="${PREFIX}/bin"

# Nothing of what is mounted in the first system is here.
mkdir /proc /sys /tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
populate_device_nodes

build bash-5.1

exec env -i PATH="${PATH}" PREFIX="${PREFIX}" SOURCES="${SOURCES}" bash run2.sh
