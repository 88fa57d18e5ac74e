"""ISO 9660 images with a hybrid boot record."""
