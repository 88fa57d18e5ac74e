#!/usr/bin/busybox sh
[ "$1" != bound ] || ifconfig "$interface" "$ip" netmask "$subnet"
