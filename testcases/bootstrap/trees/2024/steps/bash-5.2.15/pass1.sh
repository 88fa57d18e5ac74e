tar -xzf "${DISTFILES}/bash-5.2.15.tar.gz" -C /
