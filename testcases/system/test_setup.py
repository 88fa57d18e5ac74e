"""`ci/setup` in a small checkout of its own, where stand-ins record what would change the machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tomllib
from pathlib import Path

import msgspec
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = """\
# why
cpio             # reads archives
qemu-system-x86  # boots
"""
# What the script may use of the real system; all else it finds are the stand-ins.
REAL_PROGRAMS = "cat cp dirname env flock grep mkdir rm sed sha256sum sh tail tr true"
INSTALL = "apt-get install -y --no-install-recommends"

DPKG_QUERY = 'cat "$STATE/installed"'
APT_GET = """
if [ "$1" = install ]; then printf 'cpio installed\\nqemu-system-x86 installed\\n' >"$STATE/installed"; fi
"""
ID = 'cat "$STATE/uid"'
SUDO = """
[ ! -e "$STATE/sudo-refuses" ] || exit 1
[ "$1" != -n ] || shift
exec "$@"
"""
# `python3 -m venv` makes a directory with this same program in it.
PYTHON = """
case "$*" in
*sys.version_info*) cat "$STATE/python" ;;
*venv*) [ ! -e "$STATE/venv-fails" ] || exit 1
        for place; do :; done # the last word
        case $* in *--clear*) rm -rf "$place" ;; esac
        mkdir -p "$place/bin" && cp "$0" "$place/bin/python" ;;
*pip*) [ ! -e "$STATE/pip-waits" ] || cat "$STATE/pip-waits"
       [ ! -e "$STATE/pip-fails" ] || { echo "no route to host" >&2; exit 1; } ;;
esac
"""


class Checkout(msgspec.Struct, frozen=True):
    """A checkout with `ci/setup`, the programs it will find, and what these remember and are told."""

    root: Path
    programs: Path
    state: Path

    def program(self, name: str, body: str) -> None:
        path = self.programs / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"$STATE/calls"\n{body}\n')
        path.chmod(0o755)

    def tell(self, name: str, text: str = "") -> None:
        (self.state / name).write_text(text)

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.root / "ci" / "setup", *options],
            env={"PATH": str(self.programs), "STATE": str(self.state)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def setup(self, *options: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*options)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def calls(self, *programs: str) -> list[str]:
        """Calls of these programs since the last question, in order."""
        record = self.state / "calls"
        lines = record.read_text().splitlines() if record.exists() else []
        record.unlink(missing_ok=True)
        return [line for line in lines if line.split()[0] in programs]

    def builds(self) -> list[str]:
        """What was done to the Python environment since the last question."""
        steps = {"venv": " -m venv ", "pinned": " -r requirements.txt", "project": " --editable ."}
        return [
            next(step for step, words in steps.items() if words in f"{call} ")
            for call in self.calls("python3", "python")
            if "sys.version_info" not in call
        ]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout on a machine where root has everything but the Python environment."""
    made = Checkout(tmp_path / "checkout", tmp_path / "programs", tmp_path / "state")
    for directory in (made.root / "ci", made.programs, made.state):
        directory.mkdir(parents=True)
    shutil.copy(REPOSITORY / "ci" / "setup", made.root / "ci" / "setup")
    (made.root / "ci" / "debian-packages.txt").write_text(PACKAGES)
    (made.root / "requirements.txt").write_text("rich==15.0.0\n")
    (made.root / "pyproject.toml").write_text("[project]\n")
    for name in REAL_PROGRAMS.split():
        real = shutil.which(name)
        assert real is not None, name
        (made.programs / name).symlink_to(real)
    made.program("dpkg-query", DPKG_QUERY)
    made.program("dpkg", "")
    made.program("apt-get", APT_GET)
    made.program("id", ID)
    made.program("python3", PYTHON)
    made.tell("uid", "0\n")
    made.tell("installed", "cpio installed\nqemu-system-x86 installed\n")
    made.tell("python", "3.11.2 /usr\n")
    return made


def test_installs_nothing_that_is_there(checkout: Checkout) -> None:
    result = checkout.setup()
    assert result.returncode == 0, result.stderr
    assert checkout.calls("apt-get", "dpkg", "sudo") == []


def test_root_installs_what_is_missing(checkout: Checkout) -> None:
    checkout.tell("installed", "cpio installed\nqemu-system-x86 config-files\n")
    result = checkout.setup()
    assert result.returncode == 0, result.stderr
    assert "==> installing Debian packages: qemu-system-x86 " in result.stdout
    assert checkout.calls("apt-get", "dpkg", "sudo") == [
        "dpkg --configure -a",
        "apt-get update",
        f"{INSTALL} qemu-system-x86 -o DPkg::Lock::Timeout=300",
    ]


@pytest.mark.parametrize("purpose", ["dib", "genesis", "kernel", "labgrid"])
def test_more_packages_come_only_when_asked_for(checkout: Checkout, purpose: str) -> None:
    (checkout.root / "ci" / f"debian-packages-{purpose}.txt").write_text("debootstrap  # why\n")
    (checkout.root / "ci/requirements-labgrid.txt").write_text("labgrid==26.0.1\n")
    assert checkout.setup().returncode == 0
    assert checkout.calls("apt-get") == []
    assert checkout.setup(f"--{purpose}").returncode == 0
    assert checkout.calls("apt-get")[-1] == f"{INSTALL} debootstrap -o DPkg::Lock::Timeout=300"


def test_labgrid_gets_an_environment_of_its_own_once(checkout: Checkout) -> None:
    (checkout.root / "ci/debian-packages-labgrid.txt").write_text("cpio  # is there\n")
    pins = checkout.root / "ci/requirements-labgrid.txt"
    pins.write_text("labgrid==26.0.1\n")
    assert checkout.setup().returncode == 0
    assert not (checkout.root / "build/labgrid").exists()
    checkout.calls()
    for pinned, expected in (("26.0.1", 1), ("26.0.1", 0), ("26.1.0", 1)):
        pins.write_text(f"labgrid=={pinned}\n")
        assert checkout.setup("--labgrid").returncode == 0
        installed = [call for call in checkout.calls("python3") if "-r ci/requirements-labgrid.txt" in call]
        assert len(installed) == expected
    checkout.tell("pip-fails")
    pins.write_text("labgrid==26.2.0\n")
    assert checkout.setup("--labgrid").returncode == 6
    assert not (checkout.root / "build/labgrid/stamp").exists()


def test_an_option_that_nobody_knows_is_refused(checkout: Checkout) -> None:
    result = checkout.setup("--kernels")
    assert result.returncode == 2
    assert "there is no option --kernels" in result.stderr


def test_sudo_installs_what_is_missing(checkout: Checkout) -> None:
    checkout.tell("uid", "1000\n")
    checkout.tell("installed")
    checkout.program("sudo", SUDO)
    result = checkout.setup()
    assert result.returncode == 0, result.stderr
    calls = checkout.calls("apt-get", "sudo")
    assert calls[0] == "sudo -n true"  # nobody is asked for a password without a terminal
    assert calls[-1] == f"{INSTALL} cpio qemu-system-x86 -o DPkg::Lock::Timeout=300"
    assert calls[-2].startswith("sudo -n env DEBIAN_FRONTEND=noninteractive ")


@pytest.mark.parametrize("sudo", [False, True], ids=["no sudo", "sudo refuses"])
def test_without_root_prints_the_command_and_stops(checkout: Checkout, *, sudo: bool) -> None:
    checkout.tell("uid", "1000\n")
    checkout.tell("installed")
    if sudo:
        checkout.program("sudo", SUDO)
        checkout.tell("sudo-refuses")
    result = checkout.setup()
    assert result.returncode == 2
    prefix = "sudo " if sudo else ""
    assert f"\n    {prefix}apt-get update && {prefix}{INSTALL} cpio qemu-system-x86\n" in result.stderr
    assert checkout.calls("apt-get", "dpkg") == []
    assert {path.name for path in checkout.root.iterdir()} == {"ci", "pyproject.toml", "requirements.txt"}


def test_apt_that_fails_ends_the_setup(checkout: Checkout) -> None:
    checkout.tell("installed")
    checkout.program("apt-get", 'echo "E: $1 failed"; exit 100')
    result = checkout.setup()
    assert result.returncode == 6
    assert "E: install failed\n" in result.stderr
    assert "apt-get could not install them (build/setup.log has all it said)" in result.stderr
    assert checkout.builds() == []


def test_names_the_programs_where_there_is_no_debian(checkout: Checkout) -> None:
    for name in ("dpkg-query", "dpkg", "apt-get"):
        (checkout.programs / name).unlink()
    result = checkout.setup()
    assert result.returncode == 2
    assert "this is not Debian" in result.stderr
    assert " qemu-system-x86_64\n" in result.stderr
    assert checkout.builds() == []


def test_old_python_is_refused_in_one_sentence(checkout: Checkout) -> None:
    checkout.tell("python", "3.9.2 /usr\n")
    result = checkout.setup()
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "setup: Python 3.11 or newer is needed, and python3 is 3.9.2.\n"


def test_missing_python_is_refused_in_one_sentence(checkout: Checkout) -> None:
    (checkout.programs / "python3").unlink()
    result = checkout.setup()
    assert result.returncode == 2
    assert result.stderr == "setup: Python 3.11 or newer is needed, and there is no python3.\n"


def test_installs_pinned_packages_by_hash_and_then_the_project(checkout: Checkout) -> None:
    checkout.setup()
    pip = [call for call in checkout.calls("python", "python3") if " pip " in call]
    assert len(pip) == 2
    assert "--require-hashes -r requirements.txt" in pip[0]
    assert "--no-deps --no-build-isolation --editable ." in pip[1]
    assert not [call for call in pip if "index" in call or "http" in call]


def test_is_silent_when_nothing_is_to_do(checkout: Checkout) -> None:
    checkout.setup()
    assert checkout.builds() == ["venv", "pinned", "project"]
    again = checkout.setup()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert checkout.builds() == []


def test_works_from_any_directory_and_in_one_with_a_space(checkout: Checkout) -> None:
    moved = Checkout(checkout.root.with_name("a b"), checkout.programs, checkout.state)
    checkout.setup()
    checkout.builds()
    checkout.root.rename(moved.root)
    result = moved.setup()
    assert result.returncode == 0, result.stderr
    assert moved.builds() == ["venv", "pinned", "project"]


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        pytest.param("requirements.txt", ["venv", "pinned", "project"], id="requirements"),
        pytest.param("pyproject.toml", ["project"], id="project"),
    ],
)
def test_change_of_inputs_is_followed(checkout: Checkout, change: str, steps: list[str]) -> None:
    checkout.setup()
    checkout.builds()
    old_package = checkout.root / ".venv" / "old-package"
    old_package.touch()
    with (checkout.root / change).open("a") as file:
        file.write("# changed\n")
    checkout.setup()
    assert checkout.builds() == steps
    assert old_package.exists() == ("venv" not in steps)


def test_another_python_is_followed(checkout: Checkout) -> None:
    checkout.setup()
    checkout.builds()
    checkout.tell("python", "3.13.5 /usr\n")
    checkout.setup()
    assert checkout.builds() == ["venv", "pinned", "project"]


def test_pip_that_fails_is_tried_again(checkout: Checkout) -> None:
    checkout.tell("pip-fails")
    failed = checkout.setup()
    assert failed.returncode == 6
    assert "no route to host" in failed.stderr
    assert "Check the network" in failed.stderr
    (checkout.state / "pip-fails").unlink()
    checkout.builds()
    assert checkout.setup().returncode == 0
    assert checkout.builds() == ["venv", "pinned", "project"]


@pytest.mark.parametrize(
    ("change", "failure", "steps"),
    [
        pytest.param("requirements.txt", "venv-fails", ["venv", "pinned", "project"], id="requirements"),
        pytest.param("pyproject.toml", "pip-fails", ["project"], id="project"),
    ],
)
def test_change_that_failed_and_was_taken_back_is_repaired(
    checkout: Checkout, change: str, failure: str, steps: list[str]
) -> None:
    checkout.setup()
    file = checkout.root / change
    before = file.read_text()
    file.write_text(f"{before}# changed\n")
    checkout.tell(failure)
    assert checkout.setup().returncode == 6
    (checkout.state / failure).unlink()
    file.write_text(before)
    checkout.builds()
    assert checkout.setup().returncode == 0
    assert checkout.builds() == steps


@pytest.mark.timeout(60)  # a script that never gets to pip
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_setup_is_repaired(checkout: Checkout, number: signal.Signals) -> None:
    waits = checkout.state / "pip-waits"
    os.mkfifo(waits)
    process = checkout.start()
    with waits.open("w"):  # opens when pip runs
        os.killpg(process.pid, number)
        process.communicate(timeout=60)
    assert process.returncode != 0
    waits.unlink()
    checkout.builds()
    assert checkout.setup().returncode == 0
    assert checkout.builds() == ["venv", "pinned", "project"]


@pytest.mark.timeout(60)
def test_two_at_once_build_once(checkout: Checkout) -> None:
    waits = checkout.state / "pip-waits"
    os.mkfifo(waits)
    first = checkout.start()
    with waits.open("w"):
        second = checkout.start()
        assert second.stdout is not None
        assert "waiting for another set-up" in second.stdout.readline()
        waits.unlink()
    for process in (first, second):
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert checkout.builds() == ["venv", "pinned", "project"]


def test_every_dependency_is_pinned_with_hashes() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[^\w.-]", name, maxsplit=1)[0].lower().replace(".", "-") for name in wanted}
    requirements = (REPOSITORY / "requirements.txt").read_text()
    pins = re.findall(r"^([\w.-]+)==\S+ .*\\\n +--hash=sha256:", requirements, re.MULTILINE)
    assert names - set(pins) == set(), "run ci/lock-requirements"


def test_every_debian_package_says_why() -> None:
    lines = (REPOSITORY / "ci" / "debian-packages.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert packages == sorted(packages)
    assert [line for line in packages if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+ +# \S.*", line)] == []
