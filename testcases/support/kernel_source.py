"""A kernel's source in small: real Kconfig files, and a Makefile with targets like the kernel's."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.kernel import kconfig_why
from testcases.unit.test_bzimage import kernel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testcases.conftest import Larder

KCONFIG = """\
mainmenu "Linux/$(ARCH) $(KERNELVERSION)"

config EXPERT
	bool "Ask about everything"

config MODULES
	bool "Modules"
	modules

config LOCALVERSION
	string "Local version"
	default ""

config JOBS
	int "How many"
	default 3

config PROC_FS
	bool "/proc" if EXPERT
	default y

source "net/Kconfig"

choice
	prompt "Compression"

config KERNEL_GZIP
	bool "gzip"

config KERNEL_XZ
	bool "xz"

endchoice
"""
NET = """\
config NET
	bool "Networking"

menuconfig NETDEVICES
	bool "Devices"
	depends on NET

if NETDEVICES

config E1000
	tristate "Intel's"
	depends on PCI || (NET && MODULES)
	select CRC

config VIRTIO_NET
	bool "virtio"
	depends on VIRTIO

endif

config PCI
	bool "PCI"

config VIRTIO
	bool

config VIRTIO_PCI
	bool "virtio on PCI"
	depends on PCI
	select VIRTIO

config CRC
	bool "Checksums"

config ALWAYS
	def_bool y
	select HIDDEN

config HIDDEN
	bool
"""
# Stands for scripts/kconfig/conf of the kernel's source.
CONF = """\
import os, sys
from kconfig_why import _Kconfig

kconfig = _Kconfig("Kconfig", warn=False)
if sys.argv[1] == "allnoconfig":
    for symbol in kconfig.unique_defined_syms:
        symbol.set_value(0)
    kconfig.load_config(os.environ["KCONFIG_ALLCONFIG"], replace=False)
else:
    kconfig.load_config(".config")
kconfig.write_config(".config")
"""
MAKEFILE = """\
VERSION = 6
PATCHLEVEL = 1
SUBLEVEL = 176
EXTRAVERSION =
NAME = Curry Ramen

export srctree := $(CURDIR)
export KCONFIG_CONFIG := .config
export ARCH SRCARCH = x86
export KERNELVERSION = 6.1.176
export PYTHONPATH = {library}

allnoconfig olddefconfig:
	cd $(O) && {python} $(srctree)/conf.py $@

bzImage:
	@echo '  CC      init/main.o'
	@echo '  AS      arch/x86/head.o'
	{recipe}
	@mkdir -p $(O)/include/config $(O)/arch/x86/boot
	@sed -n 's/^CONFIG_LOCALVERSION="\\(.*\\)"/6.1.176\\1/p' $(O)/.config >$(O)/include/config/kernel.release
	@cp kernel-{bits} $(O)/arch/x86/boot/bzImage
	@printf '%s' "{stain}" >>$(O)/arch/x86/boot/bzImage
	@echo kernel/fs/ext4/ext4.ko >$(O)/modules.builtin
	@printf 'ext4.license=GPL\\0' >$(O)/modules.builtin.modinfo
"""


def files(*, recipe: str = "@true", bits: int = 32, stain: str = "") -> Mapping[str, bytes]:
    """The files of the source.

    Args:
        recipe: What the target bzImage does on the way.
        bits: Width of the kernel that comes out.
        stain: What is added to the kernel, for make.
    """
    library = Path(kconfig_why.__file__).parent
    makefile = MAKEFILE.format(library=library, python=sys.executable, recipe=recipe, bits=bits, stain=stain)
    return {
        "Makefile": makefile.encode(),
        "conf.py": CONF.encode(),
        "Kconfig": KCONFIG.encode(),
        "net/Kconfig": NET.encode(),
        f"kernel-{bits}": kernel(xloadflags=int(bits == 64)),
    }


def write(directory: Path, **changes: object) -> Path:
    """Write the source into a directory."""
    for name, data in files(**changes).items():  # type: ignore[arg-type]
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def add_to(larder: Larder, **changes: object) -> None:
    """Put the source into a larder, as the package linux-source-6.1."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for name, data in files(**changes).items():  # type: ignore[arg-type]
            info = tarfile.TarInfo(f"linux-source-6.1/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    package = {"linux-source-6.1": {"usr/src/linux-source-6.1.tar.xz": packed.getvalue()}}
    larder.add("linux-source-6.1", package, closure=False, architecture="amd64", version="6.1.176-1")
