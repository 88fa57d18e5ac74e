"""Images onto real disks: which disks there are, which of them may be written to, and the writing itself."""
