"""What Linux says last (kernel/reboot.c, kernel/panic.c, kernel/kexec_core.c), as patterns."""

POWER_OFF = r"reboot: (?:Power down|System halted|Power off not available)"
RESTART = r"reboot: (?:Restarting system|machine restart)"
PANIC = r"Kernel panic - not syncing"
KEXEC = r"(?:kexec(?:_core)?: )?Starting new kernel"
