"""A private apt root for one suite and architecture.

It takes the machine's own archive and signature keys, and does not touch the host's packages. Other suites
and architectures than the host's work the same way; apt checks all signatures and hashes.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core import programs
from harness.core.errors import ConfigError, InfraError, command_failed
from harness.sources.packages import SOURCE, Package, SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from debian.deb822 import Packages as PackagesStanza
    from debian.deb822 import Sources as SourcesStanza

    from harness.core.progress import Progress

_ARCHIVE_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_INDEX_AGE_LIMIT = 7 * 24 * 3600  # seconds after which an index is fetched again

# Suites of Debian proper; security, updates and third parties have other names.
_DEBIAN_SUITE = re.compile(r"bullseye|bookworm|trixie|forky|duke|sid|(old)*stable|testing|unstable")

# Overrides for every call. The host's own configuration stays in force otherwise (proxies, timeouts),
# without its hooks, which would clean the host's caches after our downloads.
_CONFIGURATION = """\
Dir::State "{root}/state";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Cache::archives "{root}/archives";
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
Acquire::Languages "none";
"""


class GoneError(ConfigError):
    """The archive no longer has what an index or a lock file promised."""


class AptRoot:
    """apt for one suite and one architecture, in a directory of its own.

    The caller keeps other processes out of `root` while it calls. Every method that asks apt raises
    ConfigError when no archive is known.
    """

    def __init__(self, root: Path, suite: str, architecture: str, *, mirror: str | None = None) -> None:
        self.root = root  # created when needed
        self.suite = suite  # or code name of the Debian archive ("bookworm")
        self.architecture = architecture  # Debian's name of it ("i386"), or "source" for source packages
        self._mirror = mirror  # base address of an archive to use instead of the machine's own

    def refresh(self, progress: Progress, *, force: bool = False) -> None:
        """Fetch the suite's index if there is none, if it is old, or if forced to.

        An old index is good enough when the archive cannot be reached.
        """
        stamp = self.root / "updated"
        if not force and stamp.is_file() and time.time() - stamp.stat().st_mtime < _INDEX_AGE_LIMIT:
            return
        try:
            self._acquire(["apt-get", "update", "-q"], f"index of {self.suite}/{self.architecture}", progress)
            stamp.touch()
        except InfraError:
            if not stamp.is_file():
                raise
            progress.note(f"no newer index of {self.suite} can be had; using the one from an earlier day")

    @property
    def index_age(self) -> int:
        """When the index was fetched, as the modification time of its stamp in nanoseconds."""
        return (self.root / "updated").stat().st_mtime_ns

    def resolve(self, names: Sequence[str]) -> tuple[Package, ...]:
        """All packages that these need, themselves included, sorted by name."""
        command = ["apt-get", "install", "-y", "-qq", "--print-uris", *names]
        listing = self._query(command, names)
        # 'URI' name_version_architecture.deb size hash
        files = re.findall(r"^'[^']*' (\S+)_(\S+)_(\w+)\.deb ", listing, re.MULTILINE)
        wanted = [f"{name}={version.replace('%3a', ':')}" for name, version, _ in files]
        return tuple(sorted(self._show(wanted), key=lambda package: package.name))

    def find(self, name: str) -> Package:
        """One package alone, without what it depends on.

        Raises:
            ConfigError: It is not in the suite.
        """
        found = self._show([name])
        if not found:
            message = f"{self.suite}/{self.architecture} cannot give {name}: other packages provide it"
            raise ConfigError(message, hint="name one of them")
        return found[0]

    def names(self, start: str) -> tuple[str, ...]:
        """All packages of the suite whose names start so, sorted."""
        return tuple(sorted(self._query(["apt-cache", "pkgnames", start], [start]).split()))

    def fetch(self, packages: Sequence[Package], progress: Progress) -> None:
        """Download these exact packages into the directory `archives`; apt verifies them."""
        directory = self.root / "archives"
        missing = [package for package in packages if not (directory / package.file_name).is_file()]
        if not missing:
            return
        wanted = [f"{package.name}:{package.architecture}={package.version}" for package in missing]
        wanted = [name.replace(":all=", "=") for name in wanted]
        title = f"{len(missing)} packages of {self.suite}/{self.architecture}"
        if len(missing) == 1:
            title = str(missing[0])
        partial = directory / "partial"
        self._acquire(["apt-get", "download", "-q", *wanted], title, progress, cwd=partial)
        for package in missing:
            (partial / package.file_name).rename(directory / package.file_name)

    def source(self, name: str, version: str = "") -> Package:
        """A source package with its original tarballs: the newest of the suite, or exactly this version.

        Raises:
            GoneError: It has others of its versions.
        """
        from debian.deb822 import Sources as SourcesStanza
        from debian.debian_support import Version

        text = self._query(["apt-cache", "showsrc", name], [f"the source package {name}"])
        stanzas = SourcesStanza.iter_paragraphs(text, use_apt_pkg=False)
        found = {stanza["Version"]: stanza for stanza in stanzas if stanza["Package"] == name}
        versions = sorted(found, key=Version)
        if not versions:
            raise ConfigError(
                f"{self.suite} has no source package {name}", hint="check the name; binary packages differ"
            )
        if version and version not in found:
            raise GoneError(
                f"{self.suite} has no version {version} of the source package {name}",
                hint=f"it has {', '.join(versions)}; change `version`, or make a new lock file",
            )
        return _source(found[version or versions[-1]])

    def fetch_source(self, package: Package, progress: Progress) -> None:
        """Download the original tarballs of a source package into `archives`; apt verifies them.

        Raises:
            GoneError: The archive no longer has this version.
        """
        self.source(package.name, package.version)
        partial = self.root / "archives/partial"
        exact = f"{package.name}={package.version}"
        command = ["apt-get", "source", "-q", "--download-only", "--tar-only", exact]
        self._acquire(command, f"source of {package}", progress, cwd=partial)
        for file in package.files:
            (partial / file.name).rename(self.root / "archives" / file.name)

    @cached_property
    def _configuration(self) -> Path:
        """The configuration file, written when apt is first asked: finding the mirror takes a while."""
        for name in ("state/lists/partial", "cache", "archives/partial"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "status").touch()
        signed = f" signed-by={_ARCHIVE_KEYRING}" if _ARCHIVE_KEYRING.is_file() else ""
        # apt wants some architecture; indexes of source packages have none.
        of_source = self.architecture == SOURCE
        kind, architecture = ("deb-src", "amd64") if of_source else ("deb", self.architecture)
        address = self._mirror or machine_mirror()
        source = f"{kind} [arch={architecture}{signed}] {address} {self.suite} main\n"
        (self.root / "sources.list").write_text(source)
        path = self.root / "apt.conf"
        path.write_text(_CONFIGURATION.format(root=self.root, architecture=architecture))
        return path

    def _show(self, names: Sequence[str]) -> list[Package]:
        text = self._query(["apt-cache", "show", "--no-all-versions", *names], names)
        from debian.deb822 import Packages as PackagesStanza

        return [_package(stanza) for stanza in PackagesStanza.iter_paragraphs(text, use_apt_pkg=False)]

    def _query(self, command: Sequence[str], names: Sequence[str]) -> str:
        result = programs.call(self._with_root(command))
        if result.returncode != 0:
            problem = _first_problem(result.stderr)
            message = f"{self.suite}/{self.architecture} cannot give {' '.join(names)}: {problem}"
            raise ConfigError(message, hint="check the names, or fetch the newest index with --refresh")
        return result.stdout

    def _acquire(
        self, command: Sequence[str], title: str, progress: Progress, *, cwd: Path | None = None
    ) -> None:
        """Run an apt command that downloads, showing the progress that apt reports."""
        with progress.task(title) as task:
            read_end, write_end = os.pipe()
            full = [*self._with_root(command), "-o", f"APT::Status-Fd={write_end}"]
            with subprocess.Popen(
                full,
                cwd=cwd,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=[write_end],
            ) as process:
                os.close(write_end)
                try:
                    with open(read_end, encoding="utf-8", errors="replace") as status:  # noqa: PTH123
                        for line in status:
                            if line.startswith("dlstatus:"):
                                task.update(float(line.split(":")[2]) / 100)
                    stderr = process.stderr.read() if process.stderr else ""
                except BaseException:
                    process.kill()
                    raise
            if process.returncode != 0:
                if "was not found" in stderr or "404  Not Found" in stderr:
                    message = f"the archive no longer has what was asked for: {_first_problem(stderr)}"
                    raise GoneError(message, hint="resolve again with --refresh (and without --lock)")
                hint = "check the network and the machine's apt sources"
                if "does not have a Release file" in stderr:
                    hint = (
                        f"check the name of the suite {self.suite}; the archive is not there, "
                        "or no longer has it (--mirror names another one)"
                    )
                raise command_failed(full, process.returncode, stderr, hint=hint)

    def _with_root(self, command: Sequence[str]) -> list[str]:
        program, *rest = command
        return [program, "-c", str(self._configuration), *rest]


@cache
def machine_mirror() -> str:
    """The Debian archive that this machine's own apt configuration uses.

    Raises:
        ConfigError: There is no apt, or none of its sources is a Debian archive.
    """
    hint = "give the base address of a Debian archive with --mirror or HARNESS_DEBIAN_MIRROR"
    # Unlike `apt-get indextargets`, this also names sources whose index was never fetched.
    listing = programs.call(["apt-get", "update", "--print-uris"], package="apt").stdout
    for address, suite in re.findall(r"^'(\S+?)/*/dists/([^/]+)/main/binary-", listing, re.MULTILINE):
        if _DEBIAN_SUITE.fullmatch(suite):
            return str(address)
    raise ConfigError("this machine's apt sources name no Debian archive", hint=hint)


def _package(stanza: PackagesStanza) -> Package:
    return Package(
        name=stanza["Package"],
        version=stanza["Version"],
        architecture=stanza["Architecture"],
        sha256=stanza["SHA256"],
        size=int(stanza["Size"]),
        depends=stanza.get("Depends", ""),
    )


def _source(stanza: SourcesStanza) -> Package:
    files = {file["name"]: file for file in stanza["Checksums-Sha256"]}
    description = next(file for name, file in files.items() if name.endswith(".dsc"))
    # What Debian adds is in another archive, debian.tar or diff.gz; signatures of the tarballs end in .asc.
    tarball = re.compile(r"(?<!\.debian)\.tar\.[a-z0-9]+$")
    return Package(
        name=stanza["Package"],
        version=stanza["Version"],
        architecture=SOURCE,
        sha256=description["sha256"],
        size=int(description["size"]),
        files=tuple(
            SourceFile(name, file["sha256"], int(file["size"]))
            for name, file in sorted(files.items())
            if tarball.search(name)
        ),
    )


def _first_problem(stderr: str) -> str:
    problems: Iterable[str] = (line[3:] for line in stderr.splitlines() if line.startswith("E: "))
    return next(iter(problems), stderr.strip() or "no reason given")
