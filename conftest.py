"""Loads the plugin; all options and fixtures are there."""

pytest_plugins = ["harness.pytest_plugin"]
