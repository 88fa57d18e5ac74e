"""Real machines with a serial port and a power switch."""
