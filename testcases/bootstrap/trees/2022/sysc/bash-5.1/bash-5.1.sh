tar -xzf "${DISTFILES}/bash-5.1.tar.gz" -C /
