"""Seed kernels: the catalogue, fetching, and what a kernel file says about itself."""
