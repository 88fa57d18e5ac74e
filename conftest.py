"""Loads the plugin, where all options and fixtures are; tests send signals however they were started."""

import signal

pytest_plugins = ["harness.pytest_plugin"]

# What is ignored here, as in the background of a script or under nohup, would be by all that tests start.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)
