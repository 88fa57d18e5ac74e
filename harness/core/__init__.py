"""What every package uses: errors, outcomes, paths, sizes, files, TOML."""
