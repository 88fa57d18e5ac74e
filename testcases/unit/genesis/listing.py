"""Hex listings, as the seed of genesis reads them."""

from __future__ import annotations

import re


class ListingError(Exception):
    """A listing that the seed refuses."""


def binary(listing: bytes) -> bytes:
    """The program that a listing spells out."""
    digits = re.sub(rb"#[^\n]*|[\0- ]", b"", listing)
    if not re.fullmatch(rb"([0-9A-F]{2})*", digits):
        raise ListingError
    return bytes.fromhex(digits.decode("ascii"))
