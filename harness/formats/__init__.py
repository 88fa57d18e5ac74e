"""Formats of images and archives, written and read, without recipes or kernels."""
