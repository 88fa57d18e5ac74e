tar -xzf "${DISTFILES}/linux-4.14.341.tar.gz" -C /
