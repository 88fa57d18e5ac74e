#!/bin/bash
set -e
. ./helpers.sh
. ./bootstrap.cfg

export PREFIX=/usr
export SOURCES=/after
export PATH="${PREFIX}/bin"

# Nobody is asked anything.
echo "Now that bash has been built, there are potentially some questions for you!"

build hello-1.0
# As many packages, this one is built again once more is there.
build hello-1.0 pass2.sh checksums-pass2

populate_device_nodes

if [ "${CHROOT}" = False ]; then
    echo "kexecing into sysb"
    exit 1 # there is no kernel among these packages
fi

# In chroot mode transition directly into System C.
SYSC="/sysc"
cp -R "${PREFIX}" "${SYSC}"
cp "${SOURCES}/bootstrap.cfg" "${SYSC}/usr/src/"
exec chroot "${SYSC}" /init
