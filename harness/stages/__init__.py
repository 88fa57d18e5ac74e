"""Plans, the runner that follows them, and verdicts."""
