"""What goes in: Debian packages today; checkouts and distfiles as they are needed."""
