"""The console: transport, recorder, cleaned lines, watcher; dialogue and shell."""
