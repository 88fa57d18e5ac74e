"""Packages through apt, from a real archive that is made here: real .deb files, an index, a real signature.

What makes the OpenPGP signature is written out below: a bare Debian can only check them (gpgv or sqv).
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
from email.utils import formatdate
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.core.errors import ConfigError, InfraError
from harness.core.progress import Quiet
from harness.sources import apt as apt_module
from harness.sources.apt import AptRoot, machine_mirror
from harness.sources.debian import DebianSource
from harness.sources.packages import Lock, Package
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = [
    # The archive is made once for all.
    pytest.mark.xdist_group("apt"),
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get is not installed"),
]

# Two Mersenne primes: good for a key that everybody may know.
P, Q, EXPONENT = 2**1279 - 1, 2**2203 - 1, 65537
MADE = 1_600_000_000  # when key and signatures were made, in seconds since 1970

HELLO = "1:2.0~rc1-1+b2"


def signed(kind: int, data: bytes, subpackets: bytes = b"") -> bytes:
    """An OpenPGP signature packet (RFC 4880, 5.2.3): version 4, RSA, SHA-512."""
    hashed = b"\x05\x02" + MADE.to_bytes(4) + subpackets
    unhashed = b"\x09\x10" + fingerprint()[-8:]
    head = bytes([4, kind, 1, 10]) + len(hashed).to_bytes(2) + hashed
    digest = hashlib.sha512(data + head + b"\x04\xff" + len(head).to_bytes(4)).digest()
    size = ((P * Q).bit_length() + 7) // 8
    # PKCS #1 1.5 (RFC 8017, 9.2)
    told = bytes.fromhex("3051300d060960864801650304020305000440") + digest
    padded = b"\x00\x01".ljust(size - len(told) - 1, b"\xff") + b"\x00" + told
    signature = pow(int.from_bytes(padded), pow(EXPONENT, -1, (P - 1) * (Q - 1)), P * Q)
    return packet(2, head + len(unhashed).to_bytes(2) + unhashed + digest[:2] + number(signature))


def packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4) + body


def number(value: int) -> bytes:
    return value.bit_length().to_bytes(2) + value.to_bytes((value.bit_length() + 7) // 8)


def public_key() -> bytes:
    return b"\x04" + MADE.to_bytes(4) + b"\x01" + number(P * Q) + number(EXPONENT)


def framed_key() -> bytes:
    return b"\x99" + len(public_key()).to_bytes(2) + public_key()


def fingerprint() -> bytes:
    return hashlib.sha1(framed_key(), usedforsecurity=False).digest()


def key_ring() -> bytes:
    user = b"archive of the tests"
    bound = framed_key() + b"\xb4" + len(user).to_bytes(4) + user
    may_certify_and_sign = b"\x02\x1b\x03"
    return packet(6, public_key()) + packet(13, user) + signed(0x13, bound, may_certify_and_sign)


def armored(data: bytes) -> str:
    text = base64.encodebytes(data).decode()
    return f"-----BEGIN PGP SIGNATURE-----\n\n{text}-----END PGP SIGNATURE-----\n"


class Archive:
    """A Debian archive in a directory, with one suite of one architecture."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pool = root / "pool"
        self.keyring = root / "keyring.gpg"
        self.index: dict[str, str] = {}
        self.sources: dict[str, str] = {}

    @property
    def mirror(self) -> str:
        return f"copy:{self.root}"  # with file: apt would read the index in place, later changes included

    def add(
        self,
        name: str,
        version: str,
        *,
        architecture: str = "i386",
        files: Mapping[str, bytes] | None = None,
        **fields: str,
    ) -> None:
        tree = self.root / "build" / name
        (tree / "DEBIAN").mkdir(parents=True)
        control = {"Package": name, "Version": version, "Architecture": architecture}
        control |= {"Maintainer": "nobody <nobody@example.org>", "Description": "for tests", **fields}
        text = "".join(f"{key}: {value}\n" for key, value in control.items())
        (tree / "DEBIAN/control").write_text(text)
        for path, content in (files or {f"usr/share/{name}": name.encode()}).items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(content)
        place = self.pool / f"{name}_{version.rpartition(':')[2]}_{architecture}.deb"  # no epoch, as Debian's
        self.pool.mkdir(exist_ok=True)
        build = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(place)]
        subprocess.run(build, check=True, capture_output=True)
        shutil.rmtree(tree)
        data = place.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        self.index[name] = f"{text}Filename: pool/{place.name}\nSize: {len(data)}\nSHA256: {sha256}\n"

    def add_source(self, name: str, version: str, files: Mapping[str, bytes]) -> None:
        """Add a source package with these files; its .dsc file says as much as apt reads of it."""
        self.pool.mkdir(exist_ok=True)
        dsc = f"{name}_{version}.dsc"
        contents = {dsc: f"Format: 3.0 (quilt)\nSource: {name}\nVersion: {version}\n".encode(), **files}
        lines = ""
        for file, data in contents.items():
            (self.pool / file).write_bytes(data)
            lines += f"\n {hashlib.sha256(data).hexdigest()} {len(data)} {file}"
        self.sources[f"{name} {version}"] = (
            f"Package: {name}\nBinary: {name}\nVersion: {version}\nFormat: 3.0 (quilt)\n"
            f"Maintainer: Tests <tests@example.org>\nArchitecture: any\nDirectory: pool\n"
            f"Checksums-Sha256:{lines}\n"
        )

    def file(self, package: Package) -> bytes:
        return (self.pool / package.file_name.replace("1%3a", "")).read_bytes()

    def publish(self, *, signature: bool = True) -> None:
        suite = self.root / "dists/bookworm"
        sums = ""
        indexes = {"main/binary-i386/Packages": self.index, "main/source/Sources": self.sources}
        for name, stanzas in indexes.items():
            (suite / name).parent.mkdir(parents=True, exist_ok=True)
            data = "\n".join(stanzas.values()).encode()
            (suite / name).write_bytes(data)
            sums += f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n"
        release = suite / "Release"
        release.write_text(
            f"Origin: tests\nSuite: stable\nCodename: bookworm\nDate: {formatdate(MADE, usegmt=True)}\n"
            f"Architectures: i386\nComponents: main\n"
            f"SHA256:\n{sums}"
        )
        (suite / "Release.gpg").unlink(missing_ok=True)
        if signature:
            (suite / "Release.gpg").write_text(armored(signed(0, release.read_bytes())))
        self.keyring.write_bytes(key_ring())


def fill(archive: Archive) -> None:
    archive.add("hello", HELLO, Depends="libgreet (>= 1.0), greet-data")
    archive.add("libgreet", "1.0+dfsg-3", Depends="libc-little", Provides="greeting")
    archive.add("libc-little", "2.36-9")
    archive.add("greet-data", "3", architecture="all")
    archive.add("unrelated", "1")
    archive.add("broken", "1", Depends="nowhere-to-be-found")
    archive.add("linux-image-686", "6.1.1-1", Depends="linux-image-6.1.0-50-686 (= 6.1.1-1)")
    kernel = {"boot/vmlinuz-6.1.0-50-686": b"a kernel"}
    archive.add("linux-image-6.1.0-50-686", "6.1.1-1", Depends="libc-little", files=kernel)
    for version in ("1.2-1", "1.10-1"):  # as numbers, not as text, 1.10 is the newer one
        upstream = version.removesuffix("-1")
        files = {
            f"seed_{upstream}.orig.tar.gz": b"the source " + upstream.encode(),
            f"seed_{upstream}.orig.tar.gz.asc": b"a signature",
            f"seed_{upstream}.orig-doc.tar.xz": b"a component",
            f"seed_{version}.debian.tar.xz": b"what Debian adds",
        }
        archive.add_source("seed", version, files)
    archive.publish()


@pytest.fixture(scope="module")
def shared_archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    archive = Archive(tmp_path_factory.mktemp("archive"))
    fill(archive)
    return archive


@pytest.fixture
def trusted(shared_archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """The archive, with its key in the place of Debian's."""
    monkeypatch.setattr(apt_module, "_ARCHIVE_KEYRING", shared_archive.keyring)
    return shared_archive


@pytest.fixture
def changing(trusted: Archive, tmp_path: Path) -> Archive:
    """A copy of the archive that a test may change."""
    copy = Archive(tmp_path / "changing")
    shutil.copytree(trusted.root, copy.root)
    copy.index = dict(trusted.index)
    copy.sources = dict(trusted.sources)
    return copy


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def root_of(archive: Archive, tmp_path: Path) -> AptRoot:
    return AptRoot(tmp_path / "apt", "bookworm", "i386", mirror=archive.mirror)


@pytest.fixture
def apt(trusted: Archive, tmp_path: Path) -> AptRoot:
    root = root_of(trusted, tmp_path)
    root.refresh(Quiet())
    return root


class Notes(Quiet):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_package_comes_with_all_that_it_needs_and_nothing_else(apt: AptRoot, trusted: Archive) -> None:
    packages = apt.resolve(["hello"])
    assert [(p.name, p.version, p.architecture) for p in packages] == [
        ("greet-data", "3", "all"),
        ("hello", HELLO, "i386"),
        ("libc-little", "2.36-9", "i386"),
        ("libgreet", "1.0+dfsg-3", "i386"),
    ]
    for package in packages:
        data = trusted.file(package)
        assert (package.size, package.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_a_package_alone_comes_without_what_it_needs(apt: AptRoot) -> None:
    package = apt.find("hello")
    assert (package.name, package.version, package.depends) == (
        "hello",
        HELLO,
        "libgreet (>= 1.0), greet-data",
    )


@pytest.mark.parametrize("name", ["nothing-of-this-name", "broken"])
def test_what_the_suite_cannot_give_is_named(apt: AptRoot, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^bookworm/i386 cannot give {name}: .") as caught:
        apt.resolve([name])
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_an_unknown_package_alone_is_named(apt: AptRoot) -> None:
    with pytest.raises(ConfigError, match="bookworm/i386 cannot give nothing-of-this-name"):
        apt.find("nothing-of-this-name")


def test_a_name_that_is_only_provided_is_no_package(apt: AptRoot) -> None:
    with pytest.raises(ConfigError, match="bookworm/i386 cannot give greeting"):
        apt.find("greeting")


def test_packages_are_fetched_whole_with_epoch_and_all(apt: AptRoot, trusted: Archive) -> None:
    packages = apt.resolve(["hello"])
    apt.fetch(packages, Quiet())
    for package in packages:
        fetched = apt.root / "archives" / package.file_name
        assert fetched.read_bytes() == trusted.file(package)
    assert not list((apt.root / "archives/partial").iterdir())


def test_what_is_there_is_not_fetched_again(apt: AptRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = apt.resolve(["hello"])
    apt.fetch(packages, Quiet())
    monkeypatch.setenv("PATH", "/nonexistent")  # apt-get would not be found
    apt.fetch(packages, Quiet())


def test_a_version_that_is_gone_from_the_archive_is_the_users_affair(
    changing: Archive, tmp_path: Path
) -> None:
    apt = root_of(changing, tmp_path)
    apt.refresh(Quiet())
    packages = [apt.find("libc-little")]
    changing.add("libc-little", "2.36-10")
    changing.publish()
    apt.refresh(Quiet(), force=True)
    with pytest.raises(ConfigError, match=r"no longer has .*2\.36-9.* was not found") as caught:
        apt.fetch(packages, Quiet())
    assert "--refresh" in caught.value.hint


def test_a_package_that_differs_from_the_signed_index_is_refused(changing: Archive, tmp_path: Path) -> None:
    apt = root_of(changing, tmp_path)
    apt.refresh(Quiet())
    package = apt.find("libc-little")
    file = changing.pool / package.file_name
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(InfraError, match=r"apt-get .*download(.|\n)*Failed to fetch"):
        apt.fetch([package], Quiet())
    assert not (apt.root / "archives" / package.file_name).exists()


def test_an_archive_without_signature_is_refused(changing: Archive, tmp_path: Path) -> None:
    changing.publish(signature=False)
    with pytest.raises(InfraError, match="is not signed") as caught:
        root_of(changing, tmp_path).refresh(Quiet())
    assert caught.value.hint


def test_an_archive_of_strangers_is_refused(shared_archive: Archive, tmp_path: Path) -> None:
    # Here Debian's own keyring counts, which does not have the key of these tests.
    with pytest.raises(InfraError, match=r"not signed|NO_PUBKEY|[Mm]issing key|public key is not available"):
        root_of(shared_archive, tmp_path).refresh(Quiet())


def test_a_forged_index_is_refused(changing: Archive, tmp_path: Path) -> None:
    with (changing.root / "dists/bookworm/Release").open("a") as release:
        release.write("Description: not what was signed\n")
    with pytest.raises(InfraError):
        root_of(changing, tmp_path).refresh(Quiet())


def test_no_archive_and_no_index_is_an_error(trusted: Archive, tmp_path: Path) -> None:
    apt = AptRoot(tmp_path / "apt", "bookworm", "i386", mirror=f"file:{tmp_path}/nothing")
    with pytest.raises(InfraError, match=r"`apt-get .* ended with status") as caught:
        apt.refresh(Quiet())
    assert "check the name of the suite bookworm" in caught.value.hint
    assert not (tmp_path / "apt/updated").exists()


def test_an_old_index_does_when_the_archive_is_away(changing: Archive, tmp_path: Path) -> None:
    apt = root_of(changing, tmp_path)
    apt.refresh(Quiet())
    shutil.rmtree(changing.root / "dists")
    notes = Notes()
    apt.refresh(notes, force=True)
    assert len(notes.notes) == 1
    assert "bookworm" in notes.notes[0]
    assert apt.find("hello").version == HELLO


def test_a_fresh_index_is_not_fetched_again_and_an_old_one_is(changing: Archive, tmp_path: Path) -> None:
    apt = root_of(changing, tmp_path)
    apt.refresh(Quiet())
    changing.add("hello", "2:1")
    changing.publish()
    apt.refresh(Quiet())
    assert apt.find("hello").version == HELLO
    os.utime(apt.root / "updated", (MADE, MADE))
    apt.refresh(Quiet())
    assert apt.find("hello").version == "2:1"


def test_apt_writes_nowhere_but_in_its_root(apt: AptRoot) -> None:
    apt.fetch(apt.resolve(["hello"]), Quiet())
    names = ["State", "State::lists", "State::status", "State::extended_states"]
    names += ["Cache", "Cache::archives", "Etc::sourcelist"]
    command = ["apt-config", "-c", str(apt.root / "apt.conf"), "shell"]
    for name in names:
        command += [name.replace("::", "_"), f"Dir::{name}/f"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(told) == len(names)
    assert [line for line in told if f"='{apt.root}/" not in line] == []


def test_hooks_of_the_host_do_not_run(
    trusted: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ["APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success"]
    hooks = "".join(f'{kind} {{ "touch {tmp_path}/{kind[-4:]}.ran"; }};\n' for kind in kinds)
    (tmp_path / "host.conf").write_text(f'{hooks}APT::Architectures {{ "amd64"; "arm64"; }};\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "host.conf"))
    root_of(trusted, tmp_path).refresh(Quiet())
    assert not list(tmp_path.glob("*.ran"))


@pytest.fixture
def forgetful() -> Iterator[None]:
    """The machine's archive is found out once per process; not across these tests."""
    machine_mirror.cache_clear()
    yield
    machine_mirror.cache_clear()


@pytest.mark.usefixtures("forgetful")
def test_without_apt_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="apt-get is not installed"):
        machine_mirror()


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize(
    ("sources", "found"),
    [
        pytest.param(["http://deb.example.org/debian/ bookworm main"], "http://deb.example.org/debian"),
        pytest.param(
            [
                "http://security.example.org bookworm-security main",
                "http://browser.example.org stable extra",
                "file:/updates bookworm-updates main",
                "file:/real trixie contrib main",
            ],
            "file:/real",
        ),
        (["file:/other nodistro main"], None),
        ([], None),
    ],
)
def test_the_archive_of_this_machine_is_found(
    sources: list[str], found: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sources.list").write_text("".join(f"deb {line}\n" for line in sources))
    (tmp_path / "lists/partial").mkdir(parents=True)  # as in a fresh container: nothing was fetched yet
    host = f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
    host += f'Dir::State::lists "{tmp_path}/lists";\n'
    (tmp_path / "host.conf").write_text(host)
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "host.conf"))
    if found is not None:
        assert machine_mirror() == found
        return
    with pytest.raises(ConfigError, match="no Debian archive") as caught:
        machine_mirror()
    assert "HARNESS_DEBIAN_MIRROR" in caught.value.hint


def source(
    archive: Archive, store: Store, *, lock: Lock | None = None, refresh: bool = False
) -> DebianSource:
    return DebianSource(store, Quiet(), mirror=archive.mirror, lock=lock, refresh=refresh)


def test_the_environment_chooses_the_archive(
    trusted: Archive, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DEBIAN_MIRROR", trusted.mirror)
    debian = DebianSource(store, Quiet())
    assert debian.newest("bookworm", "i386", "hello").version == HELLO


def test_archives_do_not_answer_for_each_other(changing: Archive, trusted: Archive, store: Store) -> None:
    changing.add("unrelated", "2")
    changing.publish()
    found = [
        source(archive, store).newest("bookworm", "i386", "unrelated") for archive in (trusted, changing)
    ]
    assert [package.version for package in found] == ["1", "2"]


def test_packages_are_unpacked_each_in_its_place(trusted: Archive, store: Store) -> None:
    debian = source(trusted, store)
    packages = debian.closure("bookworm", "i386", ["hello"])
    places = debian.unpack("bookworm", "i386", packages)
    assert {name: (place / f"usr/share/{name}").read_text() for name, place in places.items()} == {
        name: name for name in ("greet-data", "hello", "libc-little", "libgreet")
    }
    assert not list(store.cache.glob("apt/*/archives/*.deb")), "the downloads would be kept twice"


def test_what_was_resolved_and_unpacked_needs_no_apt_again(
    trusted: Archive, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hello() -> dict[str, Path]:
        debian = source(trusted, store)
        return debian.unpack("bookworm", "i386", debian.closure("bookworm", "i386", ["hello"]))

    first = hello()
    monkeypatch.setenv("PATH", "/nonexistent")
    assert hello() == first


def test_a_name_for_the_newest_kernel_leads_to_the_kernel(trusted: Archive, store: Store) -> None:
    debian = source(trusted, store)
    package = debian.newest("bookworm", "i386", "linux-image-686")
    assert package.name == "linux-image-6.1.0-50-686"
    [place] = debian.unpack("bookworm", "i386", [package]).values()
    assert (place / "boot/vmlinuz-6.1.0-50-686").read_bytes() == b"a kernel"


def test_a_package_that_names_no_other_is_itself_the_newest(trusted: Archive, store: Store) -> None:
    assert source(trusted, store).newest("bookworm", "i386", "hello").version == HELLO


def test_refresh_sees_what_is_new_and_without_it_nothing_moves(changing: Archive, store: Store) -> None:
    before = source(changing, store).closure("bookworm", "i386", ["unrelated"])
    changing.add("unrelated", "2")
    changing.publish()
    assert source(changing, store).closure("bookworm", "i386", ["unrelated"]) == before
    [after] = source(changing, store, refresh=True).closure("bookworm", "i386", ["unrelated"])
    assert after.version == "2"


def test_a_lock_file_repeats_what_was_given(changing: Archive, store: Store, tmp_path: Path) -> None:
    first = source(changing, store)
    packages = first.closure("bookworm", "i386", ["hello"])
    kernel = first.newest("bookworm", "i386", "linux-image-686")
    lock = msgspec.json.decode(first.given.to_json(), type=Lock)

    changing.add("hello", "9")
    changing.add("linux-image-686", "7", Depends="linux-image-7-686 (= 7)")
    changing.publish()
    again = source(changing, store, lock=lock, refresh=True)
    assert again.closure("bookworm", "i386", ["hello"]) == packages
    assert again.newest("bookworm", "i386", "linux-image-686") == kernel
    assert again.given == first.given


def test_a_lock_file_is_repeated_from_an_empty_cache(trusted: Archive, store: Store, tmp_path: Path) -> None:
    first = source(trusted, store)
    packages = first.closure("bookworm", "i386", ["hello"])
    again = source(trusted, Store(tmp_path / "another"), lock=first.given)
    places = again.unpack("bookworm", "i386", again.closure("bookworm", "i386", ["hello"]))
    assert sorted(places) == [package.name for package in packages]


def test_a_lock_file_may_be_newer_than_the_index(changing: Archive, store: Store, tmp_path: Path) -> None:
    elsewhere = Store(tmp_path / "another")
    source(changing, elsewhere).closure("bookworm", "i386", ["unrelated"])  # its index is old from now on
    changing.add("unrelated", "2")
    changing.publish()
    newer = source(changing, store)
    packages = newer.closure("bookworm", "i386", ["unrelated"])
    assert [package.version for package in packages] == ["2"]
    again = source(changing, elsewhere, lock=newer.given)
    assert list(again.unpack("bookworm", "i386", packages)) == ["unrelated"]


def test_a_lock_file_of_something_else_is_refused(trusted: Archive, store: Store) -> None:
    first = source(trusted, store)
    first.closure("bookworm", "i386", ["unrelated"])
    with pytest.raises(ConfigError, match="lock file does not say what hello of bookworm/i386 is") as caught:
        source(trusted, store, lock=first.given).closure("bookworm", "i386", ["hello"])
    assert "harness lock" in caught.value.hint


def test_a_package_that_differs_from_the_lock_file_is_refused(trusted: Archive, store: Store) -> None:
    first = source(trusted, store)
    [package] = first.closure("bookworm", "i386", ["unrelated"])
    other: Package = msgspec.structs.replace(package, sha256="0" * 64)
    with pytest.raises(ConfigError, match=rf"unrelated_1_i386.deb has .* {package.sha256}, not 0{{64}}"):
        first.unpack("bookworm", "i386", [other])
    assert not list(store.cache.glob("apt/*/archives/*.deb")), "it would be taken again the next time"
    [place] = first.unpack("bookworm", "i386", [package]).values()
    assert (place / "usr/share/unrelated").read_text() == "unrelated"


def test_a_source_package_gives_its_original_tarballs(trusted: Archive, store: Store) -> None:
    debian = source(trusted, store)
    package = debian.source("bookworm", "seed")
    assert (package.version, package.architecture) == ("1.10-1", "source")
    tarballs = debian.tarballs("bookworm", package)
    assert {file.name: file.read_bytes() for file in tarballs} == {
        "seed_1.10.orig-doc.tar.xz": b"a component",
        "seed_1.10.orig.tar.gz": b"the source 1.10",
    }
    assert debian.tarballs("bookworm", package) == tarballs


def test_a_source_package_has_the_version_that_is_asked_for(trusted: Archive, store: Store) -> None:
    debian = source(trusted, store)
    (_, tarball) = debian.tarballs("bookworm", debian.source("bookworm", "seed", "1.2-1"))
    assert tarball.read_bytes() == b"the source 1.2"


def test_a_lock_file_repeats_a_source_package(trusted: Archive, store: Store, tmp_path: Path) -> None:
    first = source(trusted, store)
    package = first.source("bookworm", "seed", "1.2-1")
    lock = msgspec.json.decode(first.given.to_json(), type=Lock)
    again = source(trusted, Store(tmp_path / "other"), lock=lock)
    assert again.source("bookworm", "seed", "1.2-1") == package
    assert len(again.tarballs("bookworm", package)) == 2
    with pytest.raises(ConfigError, match="the lock file does not say what seed of bookworm/source is"):
        again.source("bookworm", "seed")


def test_a_source_package_that_is_gone_says_what_the_archive_has(
    changing: Archive, store: Store, tmp_path: Path
) -> None:
    package = source(changing, store).source("bookworm", "seed", "1.2-1")
    del changing.sources["seed 1.2-1"]
    changing.publish()
    with pytest.raises(ConfigError, match=r"no version 1\.2-1 of the source package seed") as caught:
        source(changing, Store(tmp_path / "other")).tarballs("bookworm", package)
    assert "it has 1.10-1" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="source package nothing"):
        source(changing, store).source("bookworm", "nothing")


def test_a_source_package_that_differs_from_the_signed_index_is_refused(
    changing: Archive, store: Store
) -> None:
    debian = source(changing, store)
    package = debian.source("bookworm", "seed")
    (changing.pool / "seed_1.10.orig.tar.gz").write_bytes(b"the source 1.11")  # as long
    with pytest.raises(InfraError, match="apt-get"):
        debian.tarballs("bookworm", package)
    assert not [path for path in store.cache.rglob("*.orig.tar.gz") if "partial" not in path.parts]
