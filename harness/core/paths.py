"""Where things are: the project's own data, the user's cache and leases."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import platformdirs

from harness.core.errors import ConfigError, explaining

_PACKAGE = Path(__file__).resolve().parents[1]


def data_root() -> Path:
    """Directory that holds `images/` and `kernels/`: the checkout, or the installed package's copy."""
    installed = _PACKAGE / "_data"
    return installed if installed.is_dir() else _PACKAGE.parent


def cache_root() -> Path:
    """The cache directory: `$HARNESS_CACHE`, else the XDG cache directory of the user."""
    chosen = os.environ.get("HARNESS_CACHE")
    return Path(chosen).absolute() if chosen else platformdirs.user_cache_path("bootstrap-harness")


def runtime_root() -> Path:
    """The user's directory for what processes tell each other: in `$XDG_RUNTIME_DIR`, or in their cache."""
    chosen = os.environ.get("XDG_RUNTIME_DIR")
    if chosen:
        return Path(chosen).absolute() / "bootstrap-harness"
    return platformdirs.user_cache_path("bootstrap-harness") / "run"


def writable_directory(path: Path, what: str, hint: str) -> Path:
    """Create a directory if needed, and make sure that we may write to it; `what` is its purpose."""
    with explaining(ConfigError, f"cannot create the {what} directory {path}", hint):
        path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError(f"the {what} directory {path} is not writable", hint=hint)
    return path


def check_writable(path: Path, what: str, hint: str) -> None:
    """Make sure that the directory could be created and written to, without creating it."""
    nearest = next(place for place in (path, *path.parents) if place.exists())
    reason = 0 if os.access(nearest, os.W_OK | os.X_OK) else errno.EACCES
    if not nearest.is_dir():
        reason = errno.ENOTDIR
    if reason:
        raise ConfigError(f"cannot create the {what} directory {path}: {os.strerror(reason)}", hint=hint)
