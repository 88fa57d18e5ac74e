"""The report: static pages about all runs, which need no server."""
