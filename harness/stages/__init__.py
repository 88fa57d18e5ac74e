"""The plan of a run, the runner that follows it, and the verdict at its end."""
