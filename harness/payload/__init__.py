"""Payloads that are checkouts of the user's: what they must have, and how they become recipes."""
