"""Checks of images before a boot."""
