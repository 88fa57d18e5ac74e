"""Miniature trees: checkouts in the layout of each era, with packages of a few bytes, made for a test."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness import recipe
from harness.core.progress import Quiet
from harness.formats.cpio import reader as cpio_reader
from harness.image.build import BuildOptions, build

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
TREES = HERE / "trees"
SEEDS = {path.stem: path for path in sorted((TREES / "seeds").glob("*.hex0"))}
# Of stage0-posix, what shows that its submodules are checked out, beside what the trees have themselves.
PROOFS = ("M2-Planet/cc.c", "M2-Mesoplanet/cc.c", "M2libc/bootstrappable.c", "mescc-tools/hex2.c",
          "mescc-tools/blood-elf.c", "mescc-tools-extra/sha256sum.c")  # fmt: skip
SCRIPTS = {
    "2022": 'config.write("FORCE_TIMESTAMPS=" "CHROOT=" "UPDATE_CHECKSUMS=" "DISK=")\n'
    "run('bwrap', '--dir', '/sysc_image/dev')\n",
    "2024": "".join(
        f'config.write(f"{key}=")\n'
        for key in ("ARCH", "ARCH_DIR", "CHROOT", "JOBS", "QEMU", "DISK", "KERNEL_BOOTSTRAP")
    ),
}


class Miniature(msgspec.Struct, frozen=True):
    """A tree and all that it downloads.

    Attributes:
        path: The checkout.
        mirror: A directory with its distfiles, by name.
    """

    path: Path
    mirror: Path


def assembled(name: str) -> bytes:
    """A program of `seeds/`, as hex0 makes it."""
    lines = SEEDS[name].read_text("utf-8").splitlines()
    return bytes.fromhex("".join(line.partition("#")[0] for line in lines))


def parts(cache: Path) -> dict[str, bytes]:
    """What takes the place of builds: a busybox, and archives with kexec and a kernel."""
    # A recipe has a directory of its own for what it refers to; this one refers to nothing.
    wanted = recipe.load_recipe(str(HERE / "parts.toml"))
    built = build(wanted, BuildOptions(cache=cache), Quiet())
    busybox = _members(built.images["parts"].path)["bin/busybox"][1]
    linux = _members(built.images["linux"].path)
    return {
        "busybox-1.35.0": busybox,
        "kexec-tools-2.0.22.tar.gz": _tar(
            _members(built.images["kexec"].path), {"sbin/kexec": "usr/bin/kexec"}
        ),
        "linux.tar.gz": _tar(linux, {}),
        "vmlinuz": linux["boot/vmlinuz"][1],
        "hello-1.0.txt": b"hello\n",
        "bash-5.2.15.tar.gz": _tar(_members(built.images["bash"].path), {"bin/bash": "usr/bin/bash"}),
        "curl-7.88.1.tar.gz": _tar(_members(built.images["curl"].path), {}),
        "gcc-15.2.0.sh": (HERE / "gcc.sh").read_bytes(),
        "natively-1.0.txt": b"natively\n",
    }


def initramfs_era(directory: Path, given: Mapping[str, bytes]) -> Miniature:
    """A tree like those of summer 2021: one system, whose packages are in `sysa.py`, and all below /image."""
    tree, mirror = directory / "live-bootstrap", directory / "mirror"
    shutil.copytree(TREES / "2021/sysa", tree / "sysa")
    _stage0(tree / "sysa/stage0-posix/src", TREES / "2021/stage0", script=b"kaem.run", built="/bin")
    sources = {
        "busybox-1.35.0": given["busybox-1.35.0"],
        "hello-1.0.txt": given["hello-1.0.txt"],
        "gcc-4.7.4.sh": given["gcc-15.2.0.sh"].replace(b"/usr/bin", b"/image/bin"),
        "bash-5.1.tar.gz": given["bash-5.2.15.tar.gz"],
    }
    mirror.mkdir()
    _write(tree / "SHA256SUMS.sources", _listed(tree / "sysa.py", mirror, sources))
    _write(tree / "rootfs.py", "")
    hello = f"{_sha256(sources['hello-1.0.txt'])}  /image/hello\n"
    _write(tree / "sysa/hello-1.0/checksums", hello)
    _write(tree / "sysa/hello-1.0/checksums-pass2", hello)
    _commit(tree)
    return Miniature(tree, mirror)


def sysc_era(directory: Path, given: Mapping[str, bytes]) -> Miniature:
    """A tree like those of winter 2021: sysa goes into sysc, and each package has its distfiles with it."""
    tree, mirror = directory / "live-bootstrap", directory / "mirror"
    shutil.copytree(TREES / "2021-sysc", tree)
    _stage0(tree / "sysa/stage0-posix/src")
    for package in ("sysa/hello-1.0", "sysc/gcc-4.7.4"):
        shutil.copytree(TREES / "2021/sysa" / Path(package).name, tree / package)
    _write(tree / "sysglobal/helpers.sh", (TREES / "2021/sysa/helpers.sh").read_text("utf-8"))
    sources = {
        "sysa": {
            "busybox-1.35.0": given["busybox-1.35.0"],
            "hello-1.0.txt": given["hello-1.0.txt"],
        },
        "sysc": {"gcc-4.7.4.sh": given["gcc-15.2.0.sh"], "bash-5.1.tar.gz": given["bash-5.2.15.tar.gz"]},
    }
    mirror.mkdir()
    sums = "".join(_listed(tree / f"{system}.py", mirror, files) for system, files in sources.items())
    _write(tree / "SHA256SUMS.sources", sums)
    _write(tree / "sysb.py", "")
    _write(tree / "rootfs.py", f"{SCRIPTS['2022']}os.path.join('sysa', 'bootstrap.cfg')\n")
    _write(tree / "sysa.py", f"{(tree / 'sysa.py').read_text('utf-8')}    os.mkdir(self.after_dir)\n")
    hello = f"{_sha256(given['hello-1.0.txt'])}  /usr/hello\n"
    _write(tree / "sysa/hello-1.0/checksums", hello)
    _write(tree / "sysa/hello-1.0/checksums-pass2", hello)
    _commit(tree)
    return Miniature(tree, mirror)


def two_calls_era(directory: Path, given: Mapping[str, bytes]) -> Miniature:
    """A tree like those of early 2023, where sysc can be a run of its own."""
    made = kexec_era(directory, given)
    _write(made.path / "rootfs.py", SCRIPTS["2022"] + 'config.write("CHROOT_ONLY_SYSA=")\n')
    # sysa brings sysc a distfile, too: /distfiles must not be there when sysc moves all of them.
    script = made.path / "sysa/run.sh"
    begins = "# In chroot mode"
    brings = f"mkdir -p /sysc/distfiles\ncp distfiles/hello-1.0.txt /sysc/distfiles/\n\n{begins}"
    _write(script, script.read_text("utf-8").replace(begins, brings))
    script.chmod(0o755)
    git(made.path, "commit", "-qam", "two calls")
    return made


def kexec_era(directory: Path, given: Mapping[str, bytes]) -> Miniature:
    """A tree like those of 2022: sysa, kexec, sysb, switch_root, sysc."""
    tree, mirror = directory / "live-bootstrap", directory / "mirror"
    shutil.copytree(TREES / "2022", tree)
    _stage0(tree / "sysa/stage0-posix/src")
    for name in ("rootfs.py", "sysa.py", "sysc.py", "lib/sysgeneral.py"):
        _write(tree / name, SCRIPTS["2022"] if name == "rootfs.py" else "")
    sources = {
        "sysa/busybox-1.35.0": ("busybox-1.35.0", "busybox-1.35.0", "busybox-1.35.0"),
        "sysa/hello-1.0": ("hello-1.0.txt", "hello-1.0.txt", ""),
        "sysa/kexec-tools-2.0.22": ("kexec-tools-2.0.22.tar.gz", "kexec-tools-2.0.22.tar.gz", ""),
        "sysa/linux-4.9.10": ("linux.tar.gz", "linux.tar.gz", "linux-4.9.10.tar.gz"),
        "sysc/gcc-10.4.0": ("gcc-15.2.0.sh", "gcc-10.4.0.sh", ""),
        "sysc/bash-5.1": ("bash-5.2.15.tar.gz", "bash-5.1.tar.gz", ""),
    }
    sums = _sources(tree, mirror, sources, given, "")
    _write(tree / "sysa/SHA256SUMS.pkgs", sums)
    shutil.copy(tree / "sysa/SHA256SUMS.pkgs", tree / "sysc/SHA256SUMS.pkgs")
    _commit(tree)
    return Miniature(tree, mirror)


def steps_era(directory: Path, given: Mapping[str, bytes]) -> Miniature:
    """A tree like those of 2024 and later: a seed, and steps in a line."""
    tree, mirror = directory / "live-bootstrap", directory / "mirror"
    shutil.copytree(TREES / "2024", tree)
    _stage0(tree / "seed/stage0-posix")
    shutil.copytree(TREES / "builder-hex0", tree / "builder-hex0")
    shutil.copy(SEEDS["kaem"], tree / "seed/stage0-posix/x86/kaem-minimal.hex0")
    shutil.copy(SEEDS["hex0"], tree / "seed/stage0-posix/x86/hex0_x86.hex0")
    _write(tree / "rootfs.py", SCRIPTS["2024"])
    _write(tree / "lib/generator.py", "cmd = ['hex0', '/x86/kaem-minimal.hex0']\n")
    _write(tree / "lib/target.py", "")
    sources = {
        "steps/hello-1.0": ("hello-1.0.txt", "hello-1.0.txt", ""),
        "steps/natively-1.0": ("natively-1.0.txt", "natively-1.0.txt", ""),
        "steps/kexec-tools-2.0.22": ("kexec-tools-2.0.22.tar.gz", "kexec-tools-2.0.22.tar.gz", ""),
        "steps/fiwix-1.5.0": ("vmlinuz", "vmlinuz", ""),
        "steps/linux-4.14.341": ("linux.tar.gz", "linux.tar.gz", "linux-4.14.341.tar.gz"),
        "steps/gcc-15.2.0": ("gcc-15.2.0.sh", "gcc-15.2.0.sh", ""),
        "steps/bash-5.2.15": ("bash-5.2.15.tar.gz", "bash-5.2.tar.gz", "bash-5.2.15.tar.gz"),
    }
    sums = _sources(tree, mirror, sources, given, "f ")
    with (tree / "steps/hello-1.0/sources").open("a", encoding="utf-8") as file:
        file.write(_line("f ", "busybox-1.35.0", "busybox-1.35.0", given["busybox-1.35.0"]))
    (mirror / "busybox-1.35.0").write_bytes(given["busybox-1.35.0"])
    # Of the two lines, both count for the sum of what is made.
    made = f"made from {_sha256(given['hello-1.0.txt'])}\n{_sha256(given['busybox-1.35.0'])}\n".encode()
    for revision in (0, 1):
        old = next(line for line in sums.splitlines() if line.endswith(f" hello-1.0_{revision}.tar.bz2"))
        sums = sums.replace(old, f"{_sha256(made)}  hello-1.0_{revision}.tar.bz2")
    _write(tree / "steps/SHA256SUMS.pkgs", sums)
    _commit(tree)
    return Miniature(tree, mirror)


def network_era(directory: Path, given: Mapping[str, bytes]) -> Miniature:
    """A tree of 2024 whose guest builds a curl, and with it gets a distfile that its disk has not."""
    made = steps_era(directory, given)
    tree = made.path
    shutil.copytree(TREES / "2024-network", tree, dirs_exist_ok=True)
    manifest, wanted = tree / "steps/manifest", "improve: get_network"
    text = manifest.read_text("utf-8").replace(wanted, f"build: curl-7.88.1 ( CHROOT == False )\n{wanted}")
    _write(manifest, text)
    data = given["curl-7.88.1.tar.gz"]
    (made.mirror / "curl-7.88.1.tar.gz").write_bytes(data)
    _write(tree / "steps/curl-7.88.1/sources", _line("f ", "curl-7.88.1.tar.gz", "", data))
    package = _sha256(f"made from {_sha256(data)}\n".encode())
    with (tree / "steps/SHA256SUMS.pkgs").open("a", encoding="utf-8") as sums:
        sums.write(f"{package}  curl-7.88.1_0.tar.bz2\n")
    (tree / "steps/improve/lease.sh").chmod(0o755)
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "a network")
    return made


def _stage0(
    directory: Path,
    scripts: Path = TREES / "stage0",
    *,
    script: bytes = b"kaem.x86",
    built: str = "x86/bin",
) -> None:
    """Make what stands for stage0-posix; its seed opens a script by name, and its programs get to a place."""
    shutil.copytree(scripts, directory, dirs_exist_ok=True)
    for name, path in SEEDS.items():
        shutil.copy(path, directory / "x86" / f"{name}.hex0")
    for seed, name in (("kaem", "kaem-optional-seed"), ("hex0", "hex0-seed")):
        program = directory / "bootstrap-seeds/POSIX/x86" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_bytes(assembled(seed).replace(b"kaem.x86", script))
        program.chmod(0o755)
    answers = "".join(f"{_sha256(assembled(name))}  {built}/{name}\n" for name in SEEDS)
    _write(directory / "x86.answers", answers)
    for name in PROOFS:
        _write(directory / name, "/* in its place */\n")
    # A path with spaces, as stage0-posix has one.
    _write(directory / "High Level Prototypes/README", "prototypes\n")


def _sources(
    tree: Path,
    mirror: Path,
    wanted: Mapping[str, tuple[str, str, str]],
    given: Mapping[str, bytes],
    kind: str,
) -> str:
    """Write the lists of sources and the mirror; returns the checksums of the packages."""
    mirror.mkdir()
    sums = ""
    for place, (content, url, name) in wanted.items():
        data = given[content]
        _write(tree / place / "sources", _line(kind, url, name, data))
        (mirror / (name or url)).write_bytes(data)
        made = _sha256(f"made from {_sha256(data)}\n".encode())
        package = place.rpartition("/")[2]
        sums += "".join(f"{made}  {package}_{revision}.tar.bz2\n" for revision in (0, 1))
    return sums


def _listed(script: Path, mirror: Path, sources: Mapping[str, bytes]) -> str:
    """Write a Python script that gets distfiles, and those to the mirror; returns their checksums."""
    for name, data in sources.items():
        (mirror / name).write_bytes(data)
    calls = "".join(f"    self.get_file('http://distfiles.invalid/{name}')\n" for name in sources)
    _write(script, f"def get_packages(self):\n{calls}")
    return "".join(f"{_sha256(data)}  {name}\n" for name, data in sources.items())


def _line(kind: str, url: str, name: str, data: bytes) -> str:
    return f"{kind}http://distfiles.invalid/{url} {_sha256(data)} {name}".rstrip() + "\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _members(archive: Path) -> dict[str, tuple[int, bytes, str]]:
    """What is in a cpio archive: mode, content and target, by path."""
    with archive.open("rb") as file:
        return {
            member.path: (member.mode, b"".join(member.blocks()), member.target)
            for member in cpio_reader.members(file)
        }


def _tar(members: Mapping[str, tuple[int, bytes, str]], names: Mapping[str, str]) -> bytes:
    """A gzipped tar archive of files and links, the same each time."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, (mode, data, target) in members.items():
            if os.path.isdir(path) or (mode & 0o170000) == 0o040000:  # noqa: PTH112 - a name in the archive
                continue
            info = tarfile.TarInfo(names.get(path, path))
            info.mode = mode & 0o7777
            if target:
                info.type, info.linkname = tarfile.SYMTYPE, target
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return gzip.compress(file.getvalue(), mtime=0)


def _commit(tree: Path) -> None:
    for script in (*tree.glob("sys?/init"), *tree.glob("sys?/*.sh"), *tree.glob("seed/script-generator")):
        script.chmod(0o755)
    for carrier in tree.glob("steps/jump/carrier-init"):
        carrier.chmod(0o755)
    for words in (["init", "-q"], ["add", "-A", "-f"], ["commit", "-qm", "a tree"]):
        git(tree, *words)


def git(tree: Path, *words: str) -> str:
    """Run git in a tree, as nobody in particular."""
    who = {
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@t",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@t",
    }
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    result = subprocess.run(
        ["git", "-C", str(tree), *words], env={**clean, **who}, capture_output=True, text=True, check=True
    )
    return result.stdout
