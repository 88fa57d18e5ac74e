"""Checkouts of bootstraps, recognised by their files and described by data.

`images/eras/*.toml` holds all that is known about an era; `docs/live-bootstrap.md` describes the keys.
`stage0` is about checkouts of stage0-posix, which has no eras so far.
"""
