"""Derivations of Nix and Guix, built without their daemons."""

RECIPE = "derivation"  # what names a derivation after `harness run`
