tar -xzf "${DISTFILES}/curl-7.88.1.tar.gz" -C /
