tar -xzf bash-5.1.tar.gz -C /
