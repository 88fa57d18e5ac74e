tar -xzf "${DISTFILES}/linux-4.9.10.tar.gz" -C /
