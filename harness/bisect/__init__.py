"""Which kernel or commit was the first that broke a run."""
