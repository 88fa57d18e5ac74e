"""Finds members of an image by path, through symbolic links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.formats.names import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.formats.tree import Member

_MAX_LINKS = 40  # as the kernel (MAXSYMLINKS)


def by_path(members: Iterable[Member]) -> dict[str, Member]:
    """Members by their plain path, the last of each; a name that leads out of the image stays as it is."""
    found = {}
    for member in members:
        path = plain(member.path)
        found[member.path if path is None else path] = member
    return found


class MemberTree:
    """All members of an image by path; content stays in the image.

    Args:
        members: The members, in the order of the image.
        roots: Directories that are roots of their own: "" for most images, "p1", "p2", … for partitions.
            Links below one of them never lead out of it.
    """

    def __init__(self, members: Iterable[Member], roots: Sequence[str] = ("",)) -> None:
        self.members = by_path(members)
        self._roots = roots

    def find(self, path: str) -> Member | None:
        """Return what a path leads to through all symbolic links; None for nothing, or a circle of links."""
        at = self.resolve(path)
        return None if at is None else self.members.get(at)

    def resolve(self, path: str) -> str | None:
        """Return where a path leads, which need not exist; None for a circle of links."""
        parts = [part for part in path.split("/") if part not in {"", "."}]
        root = parts[:1] if parts[:1] and parts[0] in self._roots else []
        at = list(root)
        rest = parts[len(root) :][::-1]
        links = 0
        while rest:
            part = rest.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                at = at[:-1] if len(at) > len(root) else at
                continue
            member = self.members.get("/".join([*at, part]))
            if member is None or not member.is_symlink:
                at.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                return None
            rest += member.target.split("/")[::-1]
            if member.target.startswith("/"):
                at = list(root)
        return "/".join(at)
