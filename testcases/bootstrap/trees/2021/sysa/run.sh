#!/bin/bash
set -e
. ./helpers.sh

export PREFIX=/image
export PATH="${PREFIX}/bin"
export SOURCES=/after

build hello-1.0
# As many packages, this one is built again once more is there.
build hello-1.0 pass2.sh checksums-pass2

populate_device_nodes

exec env -i PATH=${PREFIX}/bin PREFIX=${PREFIX} SOURCES=${SOURCES} bash run2.sh
