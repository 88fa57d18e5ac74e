tar -xzf bash-5.1.tar.gz -C /
mv /usr/bin/bash "${PREFIX}/bin/bash"
rmdir /usr/bin /usr
