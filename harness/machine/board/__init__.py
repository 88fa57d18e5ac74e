"""Real machines: how they are described, leased, switched, flashed, and heard over a serial port."""
