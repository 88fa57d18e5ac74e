"""DNS for guests: every name has the address of the HTTP server.

It sits at a port of QEMU's hub and sees what the guest sends: Ethernet frames, each after its length in four
bytes (QEMU's `-netdev socket`). It answers DNS over UDP (RFC 1035) to any server and ignores everything else,
but reports the connections that the guest begins over TCP (RFC 9293): refused ones are visible nowhere else.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from ipaddress import IPv4Address
from threading import Thread
from typing import TYPE_CHECKING, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

_IPV4, _TCP, _UDP, _DNS = 0x0800, 6, 17, 53
_FRAME_MAX = 1 << 16
_A, _INTERNET = 1, 1
_TTL = 60  # seconds for which an answer may be kept
# version and length, kind of service, length, number, fragment, hops, protocol, checksum, from, to
_IP = struct.Struct(">BBHHHBBH4s4s")
_UDP_HEADER = struct.Struct(">HHHH")  # from, to, length, checksum
_TCP_HEADER = struct.Struct(">HHIIBBHHH")  # from, to, two numbers, length, flags, and three more
_SYN, _ACK = 0x02, 0x10
_HEADER = struct.Struct(">HHHHHH")  # number, flags; questions, answers, authorities, more
_QUERY_MASK = 0xF800  # a response, or another kind of question
_RESPONSE, _RECURSION = 0x8080, 0x0100


class Question(msgspec.Struct, frozen=True):
    """What a guest asks."""

    name: str  # the name, with dots
    kind: int  # 1 for an IPv4 address
    end: int  # where the question ends in the message


class Connection(msgspec.Struct, frozen=True):
    """What a guest begins over TCP."""

    address: str  # whom it wants to reach
    port: int  # at which port there


def begun(frame: bytes) -> Connection | None:
    """The connection that a frame begins; None for every other frame."""
    held = _held(frame, _TCP)
    if held is None or len(held[2]) < _TCP_HEADER.size:
        return None
    _, port, _, _, _, flags, *_ = _TCP_HEADER.unpack_from(held[2])
    return Connection(str(IPv4Address(held[1])), port) if flags & (_SYN | _ACK) == _SYN else None


def answer(frame: bytes, address: str) -> tuple[bytes, Question] | None:
    """The answer to an Ethernet frame that asks for a name, and what was asked; else None."""
    held = _held(frame, _UDP)
    if held is None or len(held[2]) < _UDP_HEADER.size:
        return None
    source, target, data = held
    asker, asked, size, _ = _UDP_HEADER.unpack_from(data)
    if asked != _DNS or not _UDP_HEADER.size <= size <= len(data):
        return None
    said = _reply(data[_UDP_HEADER.size : size], address)
    if said is None:
        return None
    message, question = said
    datagram = _UDP_HEADER.pack(_DNS, asker, 8 + len(message), 0) + message  # IPv4 needs no checksum there
    header = _IP.pack(0x45, 0, 20 + len(datagram), 0, 0, 64, _UDP, 0, target, source)
    header = header[:10] + struct.pack(">H", _checksum(header)) + header[12:]
    return frame[6:12] + frame[:6] + frame[12:14] + header + datagram, question


def _held(frame: bytes, wanted: int) -> tuple[bytes, bytes, bytes] | None:
    """Where a whole IPv4 packet of a protocol comes from and goes to, and what it holds."""
    if len(frame) < 14 or int.from_bytes(frame[12:14], "big") != _IPV4:
        return None
    packet = frame[14:]
    if len(packet) < _IP.size or packet[0] >> 4 != 4:
        return None
    first, _, length, _, fragment, _, protocol, _, source, target = _IP.unpack_from(packet)
    start = (first & 15) * 4
    if protocol != wanted or fragment & 0x3FFF or not _IP.size <= start <= length <= len(packet):
        return None
    return source, target, packet[start:length]


def _reply(message: bytes, address: str) -> tuple[bytes, Question] | None:
    if len(message) < _HEADER.size:
        return None
    number, flags, questions, *_ = _HEADER.unpack_from(message)
    question = _question(message) if questions == 1 and not flags & _QUERY_MASK else None
    if question is None:
        return None
    known = question.kind == _A
    head = _HEADER.pack(number, _RESPONSE | flags & _RECURSION, 1, int(known), 0, 0)
    found = b""
    if known:  # the name stands at byte 12
        found = struct.pack(">HHHIH", 0xC00C, _A, _INTERNET, _TTL, 4) + IPv4Address(address).packed
    return head + message[_HEADER.size : question.end] + found, question


def _question(message: bytes) -> Question | None:
    labels = []
    at = _HEADER.size
    while at < len(message) and (length := message[at]):
        if length > 63 or at + 1 + length >= len(message):
            return None
        labels.append(message[at + 1 : at + 1 + length].decode("latin-1"))
        at += 1 + length
    if at + 5 > len(message):
        return None
    kind, network = struct.unpack_from(">HH", message, at + 1)
    return Question(".".join(labels), kind, at + 5) if network == _INTERNET else None


def _checksum(header: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Names:
    """Answers what comes from QEMU on a line, which is closed in the end, in a thread; a context manager.

    Every name has the same address. `told` is called with each question and each connection that is begun.
    """

    def __init__(
        self, line: socket.socket, address: str, told: Callable[[Question | Connection], None]
    ) -> None:
        self._line = line
        self._address = address
        self._told = told
        self._thread = Thread(target=self._answer, name="names", daemon=True)

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, also where QEMU goes on."""
        with suppress(OSError):  # QEMU is gone already
            self._line.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._line.close()

    def _answer(self) -> None:
        with self._line.makefile("rb") as frames:
            try:
                while len(head := frames.read(4)) == 4:
                    length = int.from_bytes(head, "big")
                    if length > _FRAME_MAX:
                        return
                    frame = frames.read(length)
                    if connection := begun(frame):
                        self._told(connection)
                    said = answer(frame, self._address)
                    if said is not None:
                        self._line.sendall(len(said[0]).to_bytes(4, "big") + said[0])
                        self._told(said[1])
            except OSError:
                return  # QEMU is gone
