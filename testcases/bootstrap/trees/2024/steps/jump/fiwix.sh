# From one kernel into the next with all that is there. A Linux that says nothing stands for Fiwix as well.
mount -t proc proc /proc
printf '#!/usr/bin/busybox sh\n/usr/bin/busybox echo "Fiwix v1.5.0 for i386 architecture"\nexec /usr/bin/busybox sh /steps/%s.sh\n' "$next" >/init
(cd / && find . -xdev ! -name fiwix.cpio | cpio -o -H newc) >/boot/fiwix.cpio
kexec --load --initrd=/boot/fiwix.cpio --append="console=ttyS0 quiet panic=-1 no_timer_check" /boot/fiwix
echo "kexec-fiwix: jumping to trampoline..."
exec kexec -e
