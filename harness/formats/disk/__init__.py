"""Partition tables, qcow2 and swap."""
