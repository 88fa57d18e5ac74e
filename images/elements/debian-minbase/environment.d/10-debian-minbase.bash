# Elements of diskimage-builder ask for it.
export DISTRO_NAME=debian
