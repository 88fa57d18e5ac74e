"""Run records: written, read, indexed, pruned."""
