"""Qualification of real kernels: what the table says of them, and of one that is kept from half of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.kernel import catalogue
from harness.qualify.qualification import Qualification, QualifyRequest, qualify
from harness.qualify.questions import Word, load_questions
from harness.qualify.table import table_rows
from harness.run.request import RunRequest
from harness.sources.debian import DebianSource
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODULE = "✓ as a module"
DISKS = {
    "IDE disk (PIIX)": MODULE,
    "SATA disk (AHCI)": MODULE,
    "NVMe disk": MODULE,
    "virtio disk": MODULE,
    "USB disk (xHCI)": MODULE,
    "USB disk (EHCI)": MODULE,
    "USB disk (UHCI)": MODULE,
    "USB disk (OHCI)": MODULE,
    "MBR partitions": "✓",
    "ext2": MODULE,
    "ext3": MODULE,
    "ext4": MODULE,
}
COMPRESSIONS = dict.fromkeys(
    (f"initramfs: {name}" for name in ("gzip", "xz", "lz4", "zstd", "bzip2", "lzma", "lzo")), "✓"
)


@pytest.fixture
def ask(harness_cache: Path, tmp_path: Path) -> Callable[..., Qualification]:
    """Qualifies a kernel of the catalogue."""

    def run(name: str, *, everything: bool = False, append: str = "") -> Qualification:
        request = RunRequest(runs=tmp_path / "runs", append=append, build=BuildOptions(cache=harness_cache))
        wishes = QualifyRequest(request=request, relay=everything, memory=everything)
        kernel = catalogue.obtain(name, DebianSource(Store(harness_cache), Quiet()))
        return qualify(name, kernel, wishes, Quiet())

    return run


def rows(found: Qualification) -> dict[str, str]:
    return {title: cell for title, (cell,) in table_rows([found])}


@pytest.mark.thorough
def test_a_32_bit_kernel(ask: Callable[..., Qualification]) -> None:
    found = ask("debian-6.1-i686", everything=True)
    table = rows(found)
    assert set(load_questions()) <= set(found.answers)
    assert table.items() >= {**DISKS, **COMPRESSIONS, "boots": "✓", "serial console": "✓"}.items()
    assert (table["i386 programs"], table["x86_64 programs"]) == ("✓", "✗")
    assert table["kexec_load: 32-bit kernel"] == table["kexec_load: 64-bit kernel"] == "✓"
    assert table["kexec_file_load: 32-bit kernel"].startswith("✗ ")
    assert table["kexec: jump into the other width"].endswith("-amd64 x86_64")
    assert found.to_init
    assert found.memory is not None
    assert found.memory.least is not None
    assert 16 < found.memory.least <= 96
    assert found.memory.too_little is not None
    assert found.relay is not None
    assert found.relay.verdict.outcome == Outcome.PASS
    assert found.relay.to_init is not None
    assert found.relay.to_prompt is not None
    assert found.relay.to_init < found.relay.to_prompt
    assert found.relay.record in found.records
    assert len(found.records) >= 4  # the questions, memory that is enough, and too little, and the relay
    fits = {advice.plan: advice for advice in found.advice if advice.role == "seed"}
    assert fits["live-bootstrap-sysabc"].fits
    assert fits["relay"].fits


def test_a_64_bit_kernel(ask: Callable[..., Qualification]) -> None:
    table = rows(ask("debian-6.1-x86_64"))
    assert table.items() >= {**DISKS, **COMPRESSIONS, "boots": "✓", "serial console": "✓"}.items()
    assert (table["i386 programs"], table["x86_64 programs"]) == ("✓", "✓")
    assert table["kexec_load: 32-bit kernel"] == table["kexec_load: 64-bit kernel"] == "✓"
    assert table["kexec_file_load: 64-bit kernel"] == "✓"
    assert table["kexec: jump into the other width"].endswith("-686 i686")


@pytest.mark.thorough
def test_a_kernel_that_is_kept_from_half_of_it(ask: Callable[..., Qualification]) -> None:
    blocked = "module_blacklist=ahci,nvme,usb_storage,virtio_blk,ata_piix lockdown=integrity"
    found = ask("debian-6.1-i686", append=blocked)
    for name in ("ide", "ahci", "nvme", "virtio-disk", "usb-disk", "kexec-load-32", "kexec-jump"):
        assert found.answers[name].word == Word.NO, name
    assert found.answers["ext4"].word == Word.UNTESTED
    fits = {advice.plan: advice.fits for advice in found.advice if advice.role == "seed"}
    assert not fits["relay"]
    assert fits["stage0-posix"]
