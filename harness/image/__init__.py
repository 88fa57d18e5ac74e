"""The image factory: trees become initramfs and disk images, kept in a content-addressed store."""
