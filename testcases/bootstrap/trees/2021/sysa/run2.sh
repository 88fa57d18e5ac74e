#!/bin/bash
set -e
. ./helpers.sh
. ./bootstrap.cfg

# A failure leaves a prompt that looks like the one of success.
trap bash EXIT

build gcc-4.7.4
build bash-5.1

if [ "$FORCE_TIMESTAMPS" = True ]; then
    find / -xdev -exec touch -h -d @0 {} +
fi

echo "Bootstrapping completed."

cd "${PREFIX}"
exec env - PATH=${PREFIX}/bin PS1="\w # " bash -i
