cp "${DISTFILES}/gcc-10.4.0.sh" /usr/bin/gcc
chmod 755 /usr/bin/gcc
