"""One run, from a request to a verdict."""
