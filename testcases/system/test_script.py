"""Scripts that make images without the harness: run by real shells, and the images compared by hash."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.core.progress import Quiet
from harness.image import builder_hex0, script
from harness.image.build import BuildOptions
from harness.image.script.inputs import in_shell
from harness.image.script.listing import Listing, around
from harness.recipe import load_recipe
from testcases.support.mini_stage0 import loader
from testcases.support.profiles import fewer

if TYPE_CHECKING:
    from harness.image.script import Script

SBIN = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}
FUNCTIONS = Path(script.__file__).with_name("functions.sh")

pytestmark = pytest.mark.skipif(
    not all(shutil.which(program, path=SBIN) for program in ("xxd", "sfdisk")),
    reason="xxd or fdisk is not installed",
)

# Programs, and words of the shell.
KNOWN = {
    *("cat", "dd", "grep", "mkdir", "mv", "rm", "sed", "sfdisk", "sha256sum", "tr", "xxd"),
    *("case", "command", "do", "done", "echo", "esac", "exec", "exit", "export", "fi", "for", "if"),
    *("need", "printf", "set", "then", "trap", "umask", "while"),
}

# Of each kind of file one, and names that a shell could take for something else.
TREE = """
    { add = "file", path = "init", source = "init", mode = 0o755 },
    { add = "text", path = "etc/motd", text = "$HOME `id` \\\\ 'hello'\\n" },
    { add = "text", path = "etc/unended", text = "no newline" },
    { add = "text", path = "etc/empty", text = "" },
    { add = "text", path = "etc/END", text = "a\\nEND\\nb\\n" },
    { add = "hardlink", path = "another", target = "init" },
    { add = "hardlink", path = "motd", target = "etc/motd" },
    { add = "symlink", path = "it's a $(link)", target = "to \\"what\\" $1" },
    { add = "directory", path = "tmp", mode = 0o1777 },
    { add = "file", path = "-n %s \\\\", source = "odd $name `here`'s \\"it\\"" },
    { add = "file", path = "large", source = "large" },
"""
DEVICES = """
    { add = "device", path = "dev/console", type = "char", major = 5, minor = 1 },
    { add = "device", path = "dev/sda", type = "block", major = 8, minor = 0, mode = 0o640 },
"""
RECIPE = f"""
summary = "one image of every kind"

[[image]]
name = "first"
kind = "initramfs"
contents = [{TREE}{DEVICES}]

[[image]]
name = "second"
kind = "initramfs"
behind = ["first"]
contents = [{{ add = "image", path = "first.cpio", image = "first" }}]

[[image]]
name = "whole"
kind = "disk"
size = "24M"
filesystem = "ext4"
contents = [{TREE}{DEVICES} {{ add = "image", path = "first.cpio", image = "first" }}]

[[image]]
name = "parts"
kind = "disk"
size = "72M"
table = "mbr"

[[image.partition]]
filesystem = "ext2"
size = "16M"
bootable = true
contents = [{TREE}{DEVICES}]

[[image.partition]]
filesystem = "swap"
size = "1M"

[[image.partition]]
filesystem = "ext3"
offset = "32M"
contents = [{TREE}{DEVICES}]

[[image]]
name = "guid"
kind = "disk"
size = "16M"
table = "gpt"

[[image.partition]]
filesystem = "ext4"
contents = [{TREE}]

[[image]]
name = "boot"
kind = "builder-hex0"
size = "16M"
stage1 = "stage1.hex0"
stage2 = "stage2.hex0"
commands = ["src 0 /made", "/run 'me' 100%s"]
contents = [
    {{ add = "file", path = "large", source = "large" }},
    {{ add = "text", path = "a/b", text = "text\\n" }},
    {{ add = "text", path = "a/empty", text = "" }},
]

[[image]]
name = "alone"
kind = "builder-hex0"
size = "1M"
stage1 = "stage1.img"
commands = ["/run"]
contents = [{{ add = "text", path = "a b", text = "with a blank in its name\\n" }}]
"""


def files(place: Path) -> None:
    """What the recipe wants beside it."""
    (place / "init").write_bytes(b"#!/bin/sh\necho hello\n\xff")
    (place / 'odd $name `here`\'s "it"').write_bytes(b"odd\0")
    (place / "large").write_bytes(b"0123456789abcdef" * 70_001)  # beyond the direct blocks of ext2
    (place / "stage1.hex0").write_bytes(loader())
    (place / "stage1.img").write_bytes(builder_hex0.binary(loader(), "loader"))
    (place / "stage2.hex0").write_bytes(b"# the second stage\n90\n")
    (place / "recipes").mkdir()
    (place / "recipes/own.toml").write_text(RECIPE)


def written(place: Path, *, with_inputs: bool = True) -> Script:
    options = BuildOptions(cache=place / "cache", kernels=False)
    return script.write(
        load_recipe(str(place / "recipes/own.toml")),
        options,
        place / "out/build.sh",
        Quiet(),
        roots={},
        with_inputs=with_inputs,
    )


def run(
    place: Path, *words: str, shell: str = "dash", **environment: str
) -> subprocess.CompletedProcess[str]:
    if shutil.which(SHELLS[shell][0]) is None:
        pytest.skip(f"{shell} is not installed")
    return subprocess.run(
        [*SHELLS[shell], "build.sh", *words],
        cwd=place / "out",
        env={"PATH": os.environ.get("PATH", os.defpath), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def sums(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a script for all kinds of images, that nobody may change."""
    directory = tmp_path_factory.mktemp("script")
    files(directory)
    written(directory)
    return directory


@pytest.mark.parametrize("shell", SHELLS)
def test_the_images_are_the_same_bit_by_bit(place: Path, tmp_path: Path, shell: str) -> None:
    # Surroundings that a careless script would let in.
    done = run(place, str(tmp_path / "made here"), shell=shell, LC_ALL="C.UTF-8", TZ="Asia/Tokyo")
    assert done.returncode == 0, done.stderr
    made = sums(tmp_path / "made here")
    store = {path.name: path for path in (place / "cache/store").glob("*/*/*") if path.name in made}
    archives, disks = ("first", "second"), ("whole", "parts", "guid", "boot", "alone")
    assert set(made) == {*(f"{name}.cpio" for name in archives), *(f"{name}.img" for name in disks)}
    for name, sha256 in made.items():
        assert hashlib.sha256(store[name].read_bytes()).hexdigest() == sha256, name
        assert f"{sha256}  {name}" in done.stdout
    sparse = (tmp_path / "made here/parts.img").stat()
    assert sparse.st_blocks * 512 < sparse.st_size / 2


def test_the_script_can_be_read(place: Path) -> None:
    text = (place / "out/build.sh").read_text()
    assert "# inode 12: /-n %s \\\\: file, mode 0644, owner 0:0, 4 bytes" in text
    assert re.search(
        r"^# directory /etc, names and inodes: END=\d+ empty=\d+ motd=\d+ unended=\d+$", text, re.MULTILINE
    )
    assert "directory 01777 0 0 tmp" in text
    assert "special 0060640 0 0 8 0 dev/sda" in text
    assert "group 0: map of its used blocks" in text
    assert str(place) not in text
    body = re.sub(r"<<'END'.*?^END$", "", text, flags=re.DOTALL | re.MULTILINE)
    called = set(re.findall(r"^\s*(?:exec )?([a-z_0-9]+)(?= |$)", body, re.MULTILINE))
    defined = set(re.findall(r"^([a-z_0-9]+)\(\)", text, re.MULTILINE))
    assert called - defined - KNOWN == set(), "a program that nobody has named"


def test_shellcheck_has_nothing_to_say_about_the_functions() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    command = ["shellcheck", "--shell=sh", "--exclude=SC2154,SC2034", str(FUNCTIONS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def own(place: Path, tmp_path: Path) -> Path:
    """A copy of the script and its inputs, to be damaged."""
    shutil.copytree(place / "out", tmp_path / "out", ignore=shutil.ignore_patterns("images"))
    return tmp_path


def test_a_changed_input_is_named_and_nothing_is_made(own: Path) -> None:
    (own / "out/inputs/files/init").write_bytes(b"something else")
    done = run(own, "made")
    assert done.returncode == 1
    assert "files/init: FAILED" in done.stderr
    assert "nothing was made" in done.stderr
    assert list((own / "out/made").iterdir()) == []


def test_missing_inputs_are_named_and_nothing_is_made(own: Path) -> None:
    (own / "out/inputs/files/large").unlink()
    done = run(own, "made")
    assert done.returncode == 1
    assert "files/large" in done.stderr
    assert list((own / "out/made").iterdir()) == []
    shutil.rmtree(own / "out/inputs")
    done = run(own, "made")
    assert (done.returncode, done.stderr) == (1, "build.sh: there is no ./inputs; nothing was made\n")


def test_an_image_with_another_hash_is_not_kept(own: Path) -> None:
    script = own / "out/build.sh"
    text = script.read_text()
    changed = text.replace("directory 01777 0 0 tmp", "directory 00777 0 0 tmp", 1)
    assert changed != text
    script.write_text(changed)
    done = run(own, "made")
    assert done.returncode == 1
    assert "first.cpio came out with the sha256" in done.stderr
    assert list((own / "out/made").iterdir()) == []


def test_a_full_disk_leaves_nothing_half_written(own: Path) -> None:
    script = own / "out/build.sh"
    # A disk that takes no more than so much: the limit on the size of files stands for it.
    command = ["dash", "-c", 'trap "" XFSZ; ulimit -f 900; exec dash build.sh made']
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "build.sh: cannot copy" in done.stderr
    assert list((own / "out/made").iterdir()) == []


def test_without_an_xxd_that_seeks_nothing_is_made(own: Path) -> None:
    programs = own / "bin"
    programs.mkdir()
    for name in ("cat", "dd", "grep", "mkdir", "mv", "rm", "sed", "sha256sum", "tr"):
        (programs / name).symlink_to(shutil.which(name) or name)
    (programs / "xxd").write_text("#!/bin/sh\nexit 1\n")
    (programs / "xxd").chmod(0o755)
    text = (own / "out/build.sh").read_text().replace("PATH=$PATH:/usr/sbin:/sbin", "sfdisk() { :; }")
    (own / "out/build.sh").write_text(text)
    command = [shutil.which("dash") or "dash", "build.sh", "made"]
    done = subprocess.run(
        command, cwd=own / "out", env={"PATH": str(programs)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "there is no xxd that writes bytes at an offset" in done.stderr
    assert list((own / "out/made").iterdir()) == []


def test_the_script_alone_says_what_it_wants(place: Path, tmp_path: Path) -> None:
    files(tmp_path)
    shutil.copytree(place / "cache", tmp_path / "cache")
    script = written(tmp_path, with_inputs=False)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"build.sh"}
    for each in script.inputs:
        assert f"{each.sha256}  {each.name}\n" in script.text
    done = run(tmp_path, "made", INPUTS=str(place / "out/inputs"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ('kind = "dib"\nelements = ["relay-root"]', "diskimage-builder"),
        ('kind = "disk"\nsize = "4M"\nformat = "qcow2"', "the format qcow2"),
        ('kind = "initramfs"\ncompression = "gzip"\ncontents = []', "is compressed"),
    ],
)
def test_what_no_script_can_make_is_refused(tmp_path: Path, image: str, why: str) -> None:
    (tmp_path / "recipes").mkdir()
    text = 'summary = "no"\n[debian]\nsuite = "bookworm"\narchitecture = "i386"\n'
    text += f'[[image]]\nname = "it"\n{image}\n'
    (tmp_path / "recipes/own.toml").write_text(text)
    with pytest.raises(ConfigError, match=why) as refused:
        written(tmp_path)
    assert "the image it" in refused.value.message
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "cache").exists()


def test_inputs_that_are_there_stay_and_wrong_ones_are_replaced(own: Path, place: Path) -> None:
    files(own)
    shutil.copytree(place / "cache", own / "cache")
    init, large = own / "out/inputs/files/init", own / "out/inputs/files/large"
    large.write_bytes(b"wrong")
    before = init.stat().st_ino
    written(own)
    assert init.stat().st_ino == before
    assert large.read_bytes() == (place / "large").read_bytes()


# What filesystems have a lot of: zeros, ones, numbers that count, blocks that come again, and anything.
BLOCKS = st.one_of(
    st.builds(bytes, st.integers(0, 5000)),
    st.builds(lambda count: b"\xff" * count, st.integers(1, 5000)),
    st.builds(
        lambda first, count: b"".join((first + i & 0xFFFFFFFF).to_bytes(4, "little") for i in range(count)),
        st.integers(0, 1 << 32),
        st.integers(1, 1500),
    ),
    st.builds(
        lambda first, count: b"".join((first + i & 0xFFFF).to_bytes(2, "little") for i in range(count)),
        st.integers(0, 1 << 16),
        st.integers(1, 1500),
    ),
    st.binary(max_size=200),
    st.builds(lambda piece: (piece * 4096)[:4096], st.binary(min_size=200, max_size=300)),
)


@fewer(5)
@given(blocks=st.lists(BLOCKS, max_size=8), again=st.booleans(), base=st.sampled_from([0, 4096, 5 << 30]))
def test_any_bytes_come_out_of_a_listing_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[bytes], again: bool, base: int
) -> None:
    directory = tmp_path_factory.mktemp("listing")
    data = b"".join(blocks)
    data += bytes(-len(data) % 4096) + data if again else b""
    image = directory / "image"
    with image.open("wb") as file:
        file.truncate(base + len(data))
        file.seek(base)
        file.write(data)
    with image.open("rb") as file:
        listed = "\n".join(Listing({}).commands(around(file, base + len(data), [])))
    script = f"set -eu\nLC_ALL=C\n{FUNCTIONS.read_text()}\nout=.\nexec 3>&1\nfind_xxd\nnew=made\n: >made\n"
    script += f"size {base + len(data)}\n{listed}\n"
    done = subprocess.run(["dash"], input=script, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with (directory / "made").open("rb") as file:
        assert file.seek(0, os.SEEK_END) == base + len(data)
        file.seek(base)
        assert file.read() == data
    shutil.rmtree(directory)


@fewer(2)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\"), min_size=1))
def test_a_name_in_the_shell_is_that_name(name: str) -> None:
    script = f"in=/inputs\nprintf %s {in_shell(f'$in/{name}', but='$in')}\n"
    done = subprocess.run(["dash"], input=script, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"/inputs/{name}", "")
