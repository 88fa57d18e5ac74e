"""Qualifying kernels: what a kernel can do, found out by booting it."""
