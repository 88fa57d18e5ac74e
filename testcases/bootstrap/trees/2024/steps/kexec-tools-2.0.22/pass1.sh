tar -xzf "${DISTFILES}/kexec-tools-2.0.22.tar.gz" -C /
