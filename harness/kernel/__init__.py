"""Kernels: the catalogue, fetching, building and inspecting."""
