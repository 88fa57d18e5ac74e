"""ext2, ext3 and ext4: written, and read, without mounting."""
