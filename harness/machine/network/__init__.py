"""A guest's network: QEMU's arguments, DNS and HTTP."""
