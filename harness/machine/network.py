"""What a guest of QEMU reaches, as words of its command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.machine.protocol import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

# The kernels that bootstraps build know e1000, and none of them virtio.
_WORDS = {Network.NONE: "none", Network.USER: "user,ipv6=off,model=e1000"}


def network_words(network: Network) -> Sequence[str]:
    """QEMU's words for a network."""
    return ["-nic", _WORDS[network]]
