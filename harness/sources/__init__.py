"""Inputs of images: Debian packages, checkouts and downloads."""
