"""The documents name no place to get packages from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from urllib.parse import urlsplit

import pytest

from testcases.unit.test_docs import ROOT


@cache
def package_hosts() -> frozenset[str]:
    """Hosts from which this machine gets packages; nothing else of the addresses is kept."""
    said = [value for name, value in os.environ.items() if name.startswith(("PIP_", "HARNESS_"))]
    asked = [[sys.executable, "-m", "pip", "config", "list"]]
    if shutil.which("apt-get"):
        asked.append(["apt-get", "indextargets", "--format", "$(REPO_URI)"])
    said += [subprocess.run(each, capture_output=True, text=True, check=False).stdout for each in asked]
    addresses = re.findall(r"https?://[^\s'\"]+", "\n".join(said))
    return frozenset(host for address in addresses if (host := urlsplit(address).hostname)) - {"localhost"}


def test_no_file_names_a_place_to_get_packages_from() -> None:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip("this is no git checkout")
    if not package_hosts():
        pytest.skip("this machine's apt and pip name no host")
    pattern = re.compile("|".join(rf"//(?:[^/\s]*@)?{re.escape(host)}\b" for host in package_hosts()))
    # Dotted names are searched without the slashes too.
    dotted = [host for host in package_hosts() if "." in host and not host.replace(".", "").isdigit()]
    guilty = []
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        text = path.read_text("utf-8", "replace") if path.is_file() else ""
        if pattern.search(text) or any(host in text for host in dotted):
            guilty.append(name)
    assert guilty == []  # the hosts themselves are nobody's business
