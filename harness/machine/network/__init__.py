"""The restricted network of a guest: QEMU's arguments and the services on it."""
