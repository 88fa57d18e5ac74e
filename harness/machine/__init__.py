"""Where a run happens: QEMU, its monitor, its accelerator, and the right to use the host's cores."""
