"""Looking into images of any format: what is in them, what differs, what would not boot."""
