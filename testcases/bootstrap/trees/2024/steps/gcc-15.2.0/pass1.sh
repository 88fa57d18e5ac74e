cp "${DISTFILES}/gcc-15.2.0.sh" /usr/bin/gcc
chmod 755 /usr/bin/gcc
