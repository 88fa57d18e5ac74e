"""Writes images to real disks, after making sure which disk it is."""
