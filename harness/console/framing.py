"""Framing of command output as text in numbered, checksummed blocks.

The guest prints each block of a command's output as

    @<nonce>:B
    <run> <block> <bytes of a block> <exit status of the command> <bytes of output>
    <the block's bytes as base64 or as hexadecimal numbers>
    @<nonce>:E:<cksum>-<length>

where the checksum covers everything between the two markers. What happens to a block on its way (lost
or doubled characters, foreign text), it is noticed, and that block is asked for again.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import msgspec

from harness.console.cksum import posix_cksum

if TYPE_CHECKING:
    from collections.abc import Callable

# Bytes of output per block: few processes in the guest, or little to repeat where the line does damage.
LARGE, SMALL = 24576, 1536


class Codec(msgspec.Struct, frozen=True):
    """One way to carry bytes as text, by programs that the guest has."""

    word: str  # what is typed to make the guest carry a word through all programs involved
    answer: str  # what the guest prints then, if it has them
    piece: int  # script bytes per typed line, which must stay below 200 characters
    typed: Callable[[bytes], str]  # command for the guest that prints `stored`, given a piece of a script
    stored: Callable[[bytes], bytes]  # what that command leaves in a file
    unpack: str  # guest's filter from the joined pieces to the script
    block: str  # guest's command for block number `$k`, of `$b` bytes, of the file `$f.out`
    decode: Callable[[str], bytes]  # the host's inverse of `block`


BASE64 = Codec(
    word="echo c2VlZAo=|base64 -d|dd 2>/dev/null|base64|base64",
    answer="YzJWbFpBbz0K",
    piece=96,
    typed=lambda piece: f"echo {base64.b64encode(piece).decode()}",
    stored=lambda piece: base64.b64encode(piece) + b"\n",
    unpack="base64 -d",
    block="dd if=$f.out bs=$b skip=$k count=1 2>/dev/null | base64",
    decode=base64.b64decode,
)
OCTAL = Codec(
    word="printf %b \\\\0163eed|od -A n -v -t x1",
    answer="73 65 65 64",
    piece=22,
    typed=lambda piece: "printf %b " + "".join(f"\\\\0{byte:03o}" for byte in piece),
    stored=bytes,
    unpack="cat",
    block="od -A n -v -t x1 -j $((k * b)) -N $b $f.out",
    decode=bytes.fromhex,
)

# Sourced by the guest's shell. The function runs a script once, however often it is called, and prints
# blocks of its output: it can be typed again whenever its answer got lost. @NAME@ are filled in by the host.
_SETTINGS = r"""
: "${@FUNCTION@_term=${TERM-}}"; TERM=dumb; export TERM
PS1= PS2=; unset PROMPT_COMMAND
bind 'set enable-bracketed-paste off' 2>/dev/null
stty @ECHO@ cols 32000 2>/dev/null
{ dmesg -n 1 || echo 1 >/proc/sys/kernel/printk; } >/dev/null 2>&1
@FUNCTION@() (
    sum() { set -- `@SUM@`; echo $1-${2-}; }
    f=@DIR@/$1 run=$1 b=$3
    if test "`sum 2>/dev/null <$f.sh`" = "$2" && mkdir $f.once; then
        rm -f @DIR@/*.c[0-9]* @DIR@/*.out
        "${BASH:-sh}" $f.sh >$f.out 2>&1 </dev/null
        echo $? >$f.rc
    fi 2>/dev/null
    test -e $f.out && test -s $f.rc || { echo "@@NONCE@:none:$run"; exit; }
    read -r status <$f.rc
    size=`wc -c <$f.out`; size=$((size))
    shift 3
    if test $# = 0; then
        k=0
        while test $k = 0 || test $((k * b)) -lt $size; do set -- "$@" $k; k=$((k + 1)); done
    fi
    for k do
        { echo $run $k $b $status $size; @ENCODE@; } >$f.txt
        echo "@@NONCE@:B"; cat $f.txt; echo "@@NONCE@:E:`sum <$f.txt`"
    done
)
@FUNCTION@_end() {
    TERM=$@FUNCTION@_term
    unset -f @FUNCTION@ @FUNCTION@_end; unset @FUNCTION@_term
    rm -rf @DIR@
    PS1='$ ' PS2='> '; if test "$BASH_VERSION"; then PS1='\s-\v\$ '; fi
    stty sane rows ${1:-25} cols ${2:-80} 2>/dev/null
    echo "@@NONCE@:end"
}
{
    echo "TERM=$TERM"; echo "prompts=[$PS1$PS2${PROMPT_COMMAND-}]"
    stty -a 2>/dev/null; echo "printk=`cat /proc/sys/kernel/printk 2>/dev/null`"
} >@DIR@/0.out
echo 0 >@DIR@/0.rc; mkdir @DIR@/0.once 2>/dev/null
"""


def settings_script(
    *, directory: str, function: str, nonce: str, codec: Codec, checksum: bool, echo: bool = False
) -> bytes:
    """Return the script that quietens the guest's shell and defines its end of the framing.

    Args:
        directory: Guest directory for temporary files, absolute, of letters, digits and '/' only.
        function: Name of the shell function to define.
        nonce: Letters and digits that nothing else prints.
        codec: How output is printed.
        checksum: Whether the guest has `cksum`; otherwise frames carry their length only.
        echo: Whether what is typed is echoed, for a line that is paced by it.
    """
    script = _SETTINGS
    for name, value in {
        "@ECHO@": "echo" if echo else "-echo",
        "@DIR@": directory,
        "@FUNCTION@": function,
        "@NONCE@": nonce,
        "@ENCODE@": codec.block,
        "@SUM@": "cksum" if checksum else "wc -c",
    }.items():
        script = script.replace(name, value)
    return script.encode()


def sums(data: bytes, *, checksum: bool) -> str:
    """Return what the guest's `sum` prints for `data`: its POSIX checksum and length, or its length only."""
    return f"{posix_cksum(data)}-{len(data)}" if checksum else f"{len(data)}-"


class Frames(msgspec.Struct):
    """The blocks of one run's output that have arrived undamaged."""

    nonce: str  # see `settings_script`
    run: int  # number of the run; frames of other runs are late answers, and ignored
    codec: Codec  # how output is printed
    checksum: bool  # whether frames carry a checksum
    size: int = SMALL  # bytes of a block; frames of other sizes are late answers, too
    status: int = 0  # exit status of the command
    lost: bool = False  # whether the guest says that it has no such output
    seen: bool = False  # whether any part of a frame has been seen
    _blocks: dict[int, bytes] = msgspec.field(default_factory=dict)
    _total: int | None = None
    _body: list[str] | None = None

    def feed(self, line: str) -> None:
        """Take a line of the console, without its terminator."""
        if f"@{self.nonce}:" not in line:
            if self._body is not None:
                self._body.append(line)
            return
        self.seen = True
        if line.endswith(f"@{self.nonce}:B"):
            self._body = []
            return
        self.lost = line.endswith(f"@{self.nonce}:none:{self.run}")
        end = re.search(f"@{self.nonce}:E:(.*)$", line)
        if end and self._body:
            self._take(self._body, end[1])
        self._body = None

    def _take(self, body: list[str], expected: str) -> None:
        text = "".join(f"{line}\n" for line in body)
        header = re.fullmatch(r"(\d+) (\d+) (\d+) (\d{1,3}) (\d+)", body[0])
        if header is None or sums(text.encode(), checksum=self.checksum) != expected:
            return
        run, block, size, status, total = map(int, header.groups())
        if (run, size) != (self.run, self.size):
            return
        try:
            content = self.codec.decode("".join(body[1:]))
        except ValueError:
            return
        length = min(size, total - block * size)
        if len(content) < length:  # the guest's encoder died over it, and what it had printed got its sum
            return
        self.status = status
        self._total = max(1, -(-total // size))
        self._blocks[block] = content[:length]  # the file may have grown since

    @property
    def arrived(self) -> int:
        """Number of undamaged blocks."""
        return len(self._blocks)

    @property
    def missing(self) -> list[int]:
        """Numbers of the blocks to ask for; empty as long as nothing is known, which asks for all."""
        return [block for block in range(self._total or 0) if block not in self._blocks]

    @property
    def complete(self) -> bool:
        """Whether all blocks have arrived."""
        return self._total is not None and not self.missing

    @property
    def output(self) -> bytes:
        """The output, once it is complete."""
        return b"".join(self._blocks[block] for block in range(self._total or 0))
