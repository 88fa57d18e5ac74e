"""Machines that runs boot: QEMU, chroot, bwrap and boards."""
