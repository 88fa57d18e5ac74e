"""`harness image` as people meet it: real processes, real exit codes."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import typer.main

from harness.cli.image import app
from harness.formats.tree import Entry
from harness.image import initramfs
from testcases.unit.test_bzimage import kernel
from testcases.unit.test_elf import AMD64, I386, elf

ROOT = Path(__file__).resolve().parents[2]
ODD = "odd \x1b[31m\udcff\n"


def file(path: str, content: bytes, mode: int = 0o644) -> Entry:
    return Entry(path, stat.S_IFREG | mode, content)


TREE = [
    file("init", elf(machine=I386), 0o755),
    file("etc/motd", b"hello\n" * 2000),
    file(ODD, b"odd"),
    Entry("etc/greeting", stat.S_IFLNK | 0o777, target="/etc/motd"),
    Entry("etc/copy", stat.S_IFREG | 0o644, link="etc/motd"),
    Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
]
LIST = [
    b"dev",
    b"dev/console",
    b"etc",
    b"etc/copy",
    b"etc/greeting",
    b"etc/motd",
    b"init",
    os.fsencode(ODD),
]


class User:
    """Somebody in a directory with an image."""

    def __init__(self, home: Path) -> None:
        self.home = home
        initramfs.write(TREE, home / "a.cpio", compression="gzip")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "HARNESS_CACHE": str(self.home / "cache"),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        }

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "harness", "image", *words]

    def types(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            self.command(*words),
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done
        assert b"Traceback" not in done.stderr
        return done

    def is_refused(self, *words: str) -> str:
        """What the user is told about a mistake: a sentence and a hint, and nothing else."""
        done = self.types(*words, status=2)
        assert done.stdout == b""
        told = done.stderr.decode()
        assert told.startswith("harness: ")
        assert len(told.splitlines()) <= 2
        return told


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


def test_ls(user: User) -> None:
    assert user.types("ls", "a.cpio").stdout == b"\n".join([*LIST, b""])
    assert user.types("ls", "a.cpio", "etc/[cg]*", "/init").stdout == b"etc/copy\netc/greeting\ninit\n"


def test_ls_long(user: User) -> None:
    head, *lines = user.types("ls", "-l", "a.cpio").stdout.decode(errors="replace").splitlines()
    assert head == "a.cpio: cpio archive, gzip-compressed"
    assert lines[1] == "crw-------       0:0        5, 1 1970-01-01 00:00 dev/console"
    assert lines[3] == "-rw-r--r--       0:0       12000 1970-01-01 00:00 etc/copy"
    assert lines[4].endswith(" etc/greeting -> /etc/motd")
    assert lines[5].endswith("12000 1970-01-01 00:00 etc/motd link to etc/copy")


def test_what_may_not_be_all_is_said(user: User) -> None:
    with tarfile.open(user.home / "no-end.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a"))
    os.truncate(user.home / "no-end.tar", 512)
    done = user.types("ls", "no-end.tar", status=2)
    assert b"no-end.tar: it ends without the blocks of zeros" in done.stderr
    assert b"truncate -s +1K" in done.stderr
    mke2fs = shutil.which("mke2fs", path="/sbin:/usr/sbin:/usr/bin")
    if mke2fs is None:
        pytest.skip("e2fsprogs is not installed")
    (user.home / "stale.img").write_bytes(bytes(8 << 20))
    subprocess.run([mke2fs, "-q", "-t", "ext4", user.home / "stale.img"], check=True)
    feature = [mke2fs.replace("mke2fs", "debugfs"), "-w", "-R", "feature needs_recovery"]
    subprocess.run([*feature, user.home / "stale.img"], check=True, capture_output=True)
    assert b"the journal of the filesystem has changes" in user.types("ls", "stale.img").stderr


def test_ls_json_of_an_image_that_is_cut(user: User) -> None:
    initramfs.write(TREE, user.home / "cut.cpio")
    whole = (user.home / "cut.cpio").read_bytes()
    (user.home / "cut.cpio").write_bytes(whole[: whole.index(b"hello") + 100])
    document = json.loads(user.types("ls", "--json", "cut.cpio", status=2).stdout)
    assert "cut off" in document["error"]


def test_ls_json(user: User) -> None:
    document = json.loads(user.types("ls", "--json", "a.cpio").stdout)
    members = {member.pop("path"): member for member in document.pop("members")}
    assert document == {"image": "a.cpio", "format": "cpio archive, gzip-compressed"}
    assert [os.fsencode(path) for path in members] == LIST
    assert members["dev/console"]["device"] == [5, 1]
    assert members["etc/greeting"]["target"] == "/etc/motd"
    assert members["etc/motd"]["link"] == "etc/copy"
    assert members["init"] == {
        "mode": "-rwxr-xr-x",
        "permissions": "0755",
        "uid": 0,
        "gid": 0,
        "size": len(elf(machine=I386)),
        "mtime": 0,
    }


def test_a_terminal_is_not_controlled(user: User) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        user.command("ls", "a.cpio", "odd*"), cwd=user.home, env=user.environment, stdout=theirs
    ) as process:
        process.wait(timeout=60)
        os.close(theirs)
        shown = os.read(ours, 4096)
    os.close(ours)
    assert shown == rb"odd \x1b[31m\xff\n" + b"\r\n"


def test_cat(user: User) -> None:
    for path in ("etc/motd", "/etc/greeting", "./etc/../etc/copy"):
        assert user.types("cat", "a.cpio", path).stdout == b"hello\n" * 2000


def test_a_reader_that_goes_is_no_mistake(user: User) -> None:
    initramfs.write([file("big", bytes(4 << 20))], user.home / "big.cpio")
    for words in (("cat", "big.cpio", "big"), ("ls", "--json", "a.cpio"), ("verify", "a.cpio")):
        reading, writing = os.pipe()
        os.close(reading)
        with subprocess.Popen(
            user.command(*words),
            cwd=user.home,
            env=user.environment,
            stdout=writing,
            stderr=subprocess.PIPE,
        ) as process:
            os.close(writing)
            _, told = process.communicate(timeout=60)
        assert (process.returncode, told) == (141, b"")


def test_extract(user: User) -> None:
    done = user.types("extract", "a.cpio", "-C", "new/place")
    assert done.stderr.decode() == "left out a device node; root makes them with --devices\n"
    place = user.home / "new/place"
    assert (place / "etc/motd").samefile(place / "etc/copy")
    assert (place / "etc/greeting").readlink() == Path("/etc/motd")
    assert (place / ODD).read_bytes() == b"odd"
    assert stat.S_IMODE((place / "init").stat().st_mode) == 0o755
    told = user.types("extract", "a.cpio", "-C", "new/place", "init", status=2).stderr.decode()
    assert "left out init: it exists already; --force replaces it" in told
    user.types("extract", "a.cpio", "-C", "new/place", "init", "--force")
    user.types("extract", "a.cpio", "etc/motd")
    assert (user.home / "etc/motd").is_file()
    assert not (user.home / "init").exists()


def test_extract_interrupted(user: User) -> None:
    """A file that is half there when the user stops is gone."""
    fifo = user.home / "slow.cpio"
    initramfs.write([file("whole", b"x"), file("z-big", os.urandom(1 << 20) * 300)], fifo)
    place = user.home / "place"
    with subprocess.Popen(
        user.command("extract", "slow.cpio", "-C", "place"),
        cwd=user.home,
        env=user.environment,
        stderr=subprocess.PIPE,
    ) as process:
        while process.poll() is None and not (place / "z-big").exists():
            pass
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert [path.name for path in place.iterdir()] == ["whole"]


def test_diff(user: User) -> None:
    changed = [file("etc/motd", b"hello\n" * 1999 + b"world\n"), *TREE[:1], *TREE[2:]]
    initramfs.write(changed, user.home / "b.cpio")
    initramfs.write(TREE, user.home / "same.cpio")
    assert user.types("diff", "a.cpio", "same.cpio").stdout == b""
    done = user.types("diff", "a.cpio", "b.cpio", status=1)
    assert done.stdout.decode() == (
        "  etc/copy: bytes 11994-11998 differ (4 bytes)\n  etc/motd: bytes 11994-11998 differ (4 bytes)\n"
    )
    done = user.types("diff", "--bytes", "same.cpio", "b.cpio", status=1)
    first, place, *rest = done.stdout.decode().splitlines()[-2:]
    assert first == "  4 bytes of the files themselves differ"
    assert place.endswith(": content of etc/motd")
    assert rest == []
    document = json.loads(user.types("diff", "--json", "a.cpio", "b.cpio", status=1).stdout)
    assert document["differences"][1]["content"]["ranges"] == [{"first": 11994, "last": 11998}]
    assert json.loads(user.types("diff", "--json", "a.cpio", "a.cpio").stdout) == {
        "differences": [],
        "bytes": None,
    }
    user.types("diff", "a.cpio", "missing", status=2)


def test_verify(user: User) -> None:
    done = user.types("verify", "a.cpio")
    assert "✓ /init is there" in done.stdout.decode()
    (user.home / "vmlinuz").write_bytes(kernel())
    user.types("verify", "a.cpio", "--kernel", "./vmlinuz", "--cpu", "pentium3")
    initramfs.write([file("init", elf(machine=AMD64), 0o755)], user.home / "wide.cpio")
    done = user.types("verify", "a.cpio", "wide.cpio", "--kernel", "./vmlinuz", status=2)
    assert "✗ /init is 64-bit, and kernel vmlinuz is 32-bit" in done.stdout.decode()
    document = json.loads(user.types("verify", "--json", "wide.cpio", "--init", "x", status=2).stdout)
    (image,) = document["images"]
    assert image["image"] == "wide.cpio"
    assert [f["what"] for f in image["findings"] if f["good"] is False] == ["there is no /x"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("ls", "missing"), "missing does not exist"),
        (("ls", "a.cpio", "usr/*"), "nothing in a.cpio matches usr/*"),
        (("cat", "a.cpio", "etc/modt"), "a.cpio has no etc/modt\n  there is etc/motd"),
        (("cat", "a.cpio", "etc"), "etc in a.cpio is no file"),
        (("cat", "text", "etc"), "text is no image but a text"),
        (("extract", "a.cpio", "usr"), "nothing in a.cpio matches usr"),
        (("extract", "a.cpio", "-C", "text/x"), "cannot extract into text/x"),
        (("verify", "a.cpio", "--kernel", "./text"), "text is no x86 kernel image"),
        (("verify", "a.cpio", "--kernel", "none"), "there is no kernel 'none'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_are_told_in_a_sentence(user: User, words: tuple[str, ...], told: str) -> None:
    (user.home / "text").write_text("just a text\n")
    assert told in user.is_refused(*words)


def test_every_command_and_option_is_described() -> None:
    page = (ROOT / "docs/images.md").read_text("utf-8")
    for name, command in typer.main.get_group(app).commands.items():
        assert f"`harness image {name}" in page
        section = page.partition(f"## `{name}`")[2].partition("\n## ")[0]
        for option in (word for parameter in command.params for word in parameter.opts if word[0] == "-"):
            if option not in {"--help", "--store"}:
                assert option in section, f"{name} {option}"
