[ -e /proc/self ] || mount -t proc proc /proc
mkdir -p /etc
echo "nameserver 1.1.1.1" >/etc/resolv.conf
# In the place of dhcpcd.
ifconfig eth0 up
udhcpc -i eth0 -n -q -s /steps/improve/lease.sh
timeout=120
while ! curl example.com >/dev/null 2>&1; do
    sleep 1
    timeout=$((timeout - 1))
    [ "$timeout" -gt 0 ] || { echo "Timeout reached for internet to become accessible"; exit 1; }
done
# As if the disk did not have it: it has another name at its address, and one of its mirrors wants HTTPS.
rm "${DISTFILES}/bash-5.2.15.tar.gz"
curl --fail https://mirror.invalid/bash-5.2.15.tar.gz --output "${DISTFILES}/bash-5.2.15.tar.gz" || true
