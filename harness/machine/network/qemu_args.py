"""QEMU's arguments for a guest's network.

A guest on the open network reaches what the host reaches. On the restricted one it reaches only the harness:
QEMU gives it an address by DHCP and lets nothing out (`restrict=on`), `dns` answers every name with the same
address, and QEMU hands each connection to that address to a program (`forward`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.machine.protocol import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

# QEMU's DHCP names neither gateway nor name server on a restricted network, so all has to be next door;
# live-bootstrap's scripts ask this name server and ignore DHCP's.
NAME_SERVER = "1.1.1.1"
ANSWERER = "1.1.1.80"
_NEIGHBOURS = f"net=1.1.1.0/24,host=1.1.1.2,dns={NAME_SERVER},dhcpstart=1.1.1.15"
_FORWARD = Path(__file__).with_name("forward.py")
# The kernels that bootstraps build know e1000, and none of them virtio.
_CARD = "e1000"


def network_words(network: Network) -> Sequence[str]:
    """QEMU's words for a network, as far as they are the same in each run."""
    match network:
        case Network.NONE:
            return ["-nic", "none"]
        case Network.OPEN:
            return ["-nic", f"user,ipv6=off,model={_CARD}"]
        case Network.RESTRICTED:
            return ["-netdev", "hubport,id=card,hubid=0", "-device", f"{_CARD},netdev=card"]


def answering_words(network: Network, names: int | None, port: int) -> Sequence[str]:
    """The words about this run: the line to the DNS thread, and the port of HTTP on the host, or 0."""
    if network != Network.RESTRICTED or names is None:
        return []
    address = f"user,id=address,ipv6=off,restrict=on,{_NEIGHBOURS}"
    if port:
        program = f"{_quoted(sys.executable)} -I -S {_quoted(str(_FORWARD))} {port}"
        address += f",guestfwd=tcp:{ANSWERER}:80-cmd:{program}"
    words = [address, f"socket,id=names,fd={names}"]
    words += [f"hubport,id={each}-port,hubid=0,netdev={each}" for each in ("address", "names")]
    return [part for word in words for part in ("-netdev", word)]


def _quoted(path: str) -> str:
    """A path in a command within an option: for QEMU, and for what cuts it into words."""
    return "'" + path.replace("'", "'\\''").replace(",", ",,") + "'"
