"""Test harness and image factory for bootstrappable systems."""

__version__ = "0.1.0"
