"""Nix and Guix from Debian packages, in a root of their own, as judges of what the harness does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.paths import data_root
from harness.core.progress import Quiet
from harness.formats.extract import extract
from harness.formats.opened import open_image
from harness.image.build import BuildOptions, build
from harness.recipe import load_recipe

RECIPE = """
summary = "the tools of a store"
debian = {{ suite = "sid", architecture = "amd64" }}
[[image]]
name = "root"
kind = "initramfs"
contents = [{{ add = "packages", names = ["{package}", "busybox-static"], drop = {drop} }}]
"""
_DROP = ["usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man"]
_USERS = "root:x:0:0::/root:/bin/sh\n"
_NIX = """\
build-users-group =
sandbox = true
sandbox-fallback = false
require-drop-supplementary-groups = false
substituters =
"""
# Starts the daemon, instantiates, builds, and prints the derivation's path at the end.
_GUIX = """
rm -f /var/guix/daemon-socket/socket
guix-daemon --disable-chroot --no-substitutes >/w/daemon.log 2>&1 &
until [ -e /var/guix/daemon-socket/socket ]; do busybox sleep 0.1; done
@COMMANDS@
status=$?
kill %1
echo $drv
exit $status
"""
_CLOSURE = """
drv=$(guix repl closure.scm /w/tools 2>/w/log) && guix build --no-substitutes --no-grafts $drv >>/w/log 2>&1
"""
_STAGE0 = """
drv=$(guix build -d --no-substitutes --no-grafts -s i686-linux \
    -e '(@@ (gnu packages commencement) stage0-posix)' 2>/w/log)
"""


class Tools:
    """A root with the programs of a package, and a directory for what they make.

    Attributes:
        work: Their working directory; what has to survive lies here, the store too.
    """

    def __init__(self, package: str, store: str, place: Path, cache: Path) -> None:
        if shutil.which("bwrap") is None:
            pytest.skip("bwrap is not installed (Debian package bubblewrap)")
        (place / "images/recipes").mkdir(parents=True)
        recipe = place / "images/recipes/tools.toml"
        recipe.write_text(RECIPE.format(package=package, drop=_DROP))
        try:
            built = build(load_recipe(str(recipe)), BuildOptions(cache=cache), Quiet())
        except HarnessError as error:
            pytest.skip(f"the package {package} cannot be had: {error.message}")
        self._root, self._store, self.work = place / "root", store, place / "work"
        with open_image(built.images["root"].path) as image:
            extract(image.members(), self._root, note=lambda _: None)
        for name in ("bin", "sbin", "lib", "lib64"):
            if not (self._root / name).exists():
                (self._root / name).symlink_to(f"usr/{name}")
        (self._root / "usr/bin/sh").symlink_to("busybox")
        for name in ("dev", "proc", "tmp", "root", "w", "var/guix", "var/log/guix", store[1:]):
            (self._root / name).mkdir(parents=True, exist_ok=True)
        (self._root / "etc/passwd").write_text(_USERS)
        (self._root / "etc/group").write_text("root:x:0:\n")
        (self.work / "tools/bin").mkdir(parents=True)
        shutil.copy(self._root / "usr/bin/busybox", self.work / "tools/bin/busybox")
        shutil.copytree(data_root() / "images/derivations", self.work, dirs_exist_ok=True)

    @property
    def store(self) -> Path:
        """The store, on this host."""
        return self._root / self._store[1:]

    def run(self, *command: str) -> str:
        """What a command prints."""
        root = str(self._root)
        words = ["bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--cap-add", "ALL", "--clearenv"]
        words += ["--bind", root, "/", "--dev", "/dev", "--bind", "/proc", "/proc", "--tmpfs", "/tmp"]
        words += ["--bind", str(self.work), "/w", "--chdir", "/w"]
        for name, value in {"PATH": "/usr/bin:/bin", "HOME": "/root", "NIX_CONFIG": _NIX}.items():
            words += ["--setenv", name, value]
        done = subprocess.run([*words, "--", *command], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def raw(self, *command: str) -> bytes:
        """The bytes that a command writes into a file of the working directory, by a shell's redirection."""
        self.run("sh", "-c", '"$@" >/w/out', "sh", *command)
        return (self.work / "out").read_bytes()

    def clean(self) -> None:
        """Make the store's directories removable."""
        for directory, names, _ in os.walk(self._root):
            for name in names:
                path = Path(directory, name)
                if not path.is_symlink():
                    path.chmod(0o755)


def nix_closure(tools: Tools) -> Path:
    """The derivation of the closure, which Nix has built in its sandbox."""
    drv = tools.run("nix-instantiate", "-Q", "closure.nix", "--argstr", "busybox", "/w/tools").strip()
    tools.run("nix-store", "-Q", "-r", drv)
    return tools.store / drv.rpartition("/")[2]


def genesis_chain(tools: Tools) -> Path:
    """The derivation of genesis' C compiler, with the chain to it from the seed, which Nix has built."""
    genesis = data_root() / "images/genesis"
    shutil.copytree(genesis, tools.work / "genesis")
    seed = tools.work / "seed"
    listing = (genesis / "00-seed/seed.hex").read_text("ascii").splitlines()
    seed.write_bytes(bytes.fromhex("".join(line.partition("#")[0] for line in listing)))
    seed.chmod(0o755)
    words = ("--arg", "genesis", "/w/genesis", "--argstr", "seed", "/w/seed")
    drv = tools.run("nix-instantiate", "-Q", "genesis.nix", *words).strip()
    tools.run("nix-store", "-Q", "-r", drv)
    return tools.store / drv.rpartition("/")[2]


def guix_closure(tools: Tools) -> Path:
    """The derivation of the closure, which Guix' daemon has built."""
    drv = tools.run("sh", "-c", _GUIX.replace("@COMMANDS@", _CLOSURE)).strip()
    return tools.store / drv.rpartition("/")[2]


def guix_stage0(tools: Tools) -> Path:
    """The derivation of stage0-posix in Guix' own packages, of which nothing is built."""
    drv = tools.run("sh", "-c", _GUIX.replace("@COMMANDS@", _STAGE0)).strip()
    return tools.store / drv.rpartition("/")[2]
