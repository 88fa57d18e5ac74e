"""Derivations of Nix and Guix, built without their daemons."""
