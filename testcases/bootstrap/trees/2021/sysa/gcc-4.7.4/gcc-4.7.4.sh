cp gcc-4.7.4.sh "${PREFIX}/bin/gcc"
chmod 755 "${PREFIX}/bin/gcc"
