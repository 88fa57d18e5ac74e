cp "${DISTFILES}/vmlinuz" /boot/fiwix
