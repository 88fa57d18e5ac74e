"""A recipe as a value: what stands in its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import msgspec

from harness.core import toml
from harness.core.architecture import DEFAULT
from harness.core.errors import ConfigError
from harness.core.sizes import parse_size
from harness.recipe.contents import Content, Name
from harness.recipe.images import Image, contents_by_key

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


class Debian(toml.Table, frozen=True):
    """Where the payload's packages come from: a suite of the Debian archive, for an architecture."""

    suite: Name
    architecture: Name


class Kernels(toml.Table, frozen=True):
    """Which kernels of the catalogue boot the recipe.

    `second` lists candidates for the kernel behind kexec: the first whose version is not the seed
    kernel's is taken, unless `behind` names the one that goes behind this seed kernel. `qualified` are the
    seed kernels that the test suite boots.
    """

    seed: Name
    second: tuple[Name, ...] = ()
    behind: Mapping[Name, Name] = msgspec.field(default_factory=dict)
    qualified: tuple[Name, ...] = ()


class Drive(toml.Table, frozen=True):
    """A further disk, by the controller that it hangs on; what the guest writes to it is dropped."""

    image: Name
    bus: Literal["ide", "ahci", "nvme", "virtio", "usb", "usb-ehci", "usb-uhci", "usb-ohci"]


class Boot(toml.Table, frozen=True):
    """The machine that the recipe asks for.

    Without `kernels` the BIOS boots `disk`; without `initramfs` the seed kernel mounts its root itself.
    `work` is memory for what the payload unpacks and builds in the initramfs, in sizes of the archive.
    `network = "user"` says that the payload wants a network; which one it gets is the run's choice.
    `medium` is the hybrid image that boots it where a run is asked to start from CD or USB. `unpacked` starts
    the seed kernel without firmware and decompressor. `drive` are disks besides `disk`.
    """

    initramfs: Name | None = None
    command_line: str = ""
    disk: Name | None = None
    medium: Name | None = None
    memory: str = "1G"
    cpu: str = ""
    unpacked: bool = False
    work: Annotated[float, msgspec.Meta(ge=0)] = 0
    network: Literal["none", "user"] = "none"
    drive: tuple[Drive, ...] = ()

    @property
    def memory_bytes(self) -> int:
        """Size of the guest's memory in bytes."""
        return parse_size(self.memory)


class NativeCall(toml.Table, frozen=True):
    """A program that follows when the one before it has ended well, with the directory `root` as its root."""

    root: Annotated[str, msgspec.Meta(pattern=r"^[\w-][\w.-]*(/[\w-][\w.-]*)*$")]
    program: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    environment: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it


class Native(toml.Table, frozen=True):
    """How the payload runs without a kernel of its own, under chroot or bubblewrap.

    The files of `image` become the root, and `program` is started in it with `environment` and nothing else.
    `inner` is a directory that the payload itself goes into with chroot(1): bwrap gives it the right to,
    and `/dev`, `/proc` and `/tmp` in there. What is in `then` follows, under bwrap only.
    """

    image: Name
    program: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    environment: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
    inner: Annotated[str, msgspec.Meta(pattern=r"^([\w-][\w.-]*(/[\w-][\w.-]*)*)?$")] = ""
    then: tuple[NativeCall, ...] = ()


class RecipeDocument(toml.Table, frozen=True):
    """A recipe as it stands in its file.

    `given` names what the command line has to say: it is filled in where it stands in braces. So is what is
    known of an architecture, where `architectures` names those that the payload exists for.
    """

    summary: str
    image: Annotated[tuple[Image, ...], msgspec.Meta(min_length=1)]
    plan: Name | None = None
    debian: Debian | None = None
    kernels: Kernels | None = None
    boot: Boot | None = None
    native: Native | None = None
    given: tuple[str, ...] = ()
    architectures: tuple[Name, ...] = ()


class Recipe(msgspec.Struct, frozen=True):
    """A recipe that has been read and checked.

    Asking for a table that the file lacks is a ConfigError that names it: a recipe without `boot` only builds
    images, one without `debian` takes nothing from there.
    """

    name: str  # the file's name without suffix
    path: Path  # the TOML file
    document: RecipeDocument  # what stands in it
    architecture: str = DEFAULT  # of the kernels that boot it

    @property
    def base(self) -> Path:
        """Directory that `source` keys are relative to: the one that holds `recipes/`."""
        return self.path.parent.parent

    @property
    def summary(self) -> str:
        """One line for `harness list`."""
        return self.document.summary

    @property
    def images(self) -> tuple[Image, ...]:
        """What is built, in order."""
        return self.document.image

    @property
    def debian(self) -> Debian:
        """Where packages come from."""
        return self._needed("debian", self.document.debian)

    @property
    def kernels(self) -> Kernels:
        """Seed kernel and second kernel."""
        return self._needed("kernels", self.document.kernels)

    @property
    def boots(self) -> bool:
        """Whether there is something to run."""
        return self.document.boot is not None

    @property
    def boot(self) -> Boot:
        """The machine."""
        return self._needed("boot", self.document.boot)

    @property
    def native(self) -> Native:
        """How it runs without a kernel of its own."""
        return self._needed("native", self.document.native)

    @property
    def plan(self) -> Path:
        """The plan's file."""
        return self.path.parent.parent / "plans" / f"{self._needed('plan', self.document.plan)}.toml"

    def _needed(self, key: str, value: T | None) -> T:
        if value is None:
            raise self.wrong(key, "it is missing, and this needs it")
        return value

    def lacks(self, text: str) -> bool:
        """Whether something stands in a text that the command line has yet to give."""
        return any(f"{{{name}}}" in text for name in self.document.given)

    def wrong(self, key: str, problem: str) -> ConfigError:
        """The error that says what is wrong with a key."""
        return ConfigError(f"{self.path}: key {key}: {problem}", hint="see docs/recipes.md for the keys")

    def image(self, name: str) -> Image:
        """The image with this name."""
        for image in self.images:
            if image.name == name:
                return image
        known = ", ".join(image.name for image in self.images)
        raise ConfigError(f"{self.path} has no image {name!r}", hint=f"its images: {known}")

    def key_of(self, content: Content) -> str:
        """Where a content stands in the file, such as "image[0].contents[2]".

        Raises:
            LookupError: It is none of this recipe's own: an equal one of another recipe does not count.
        """
        for number, image in enumerate(self.images):
            for key, candidate in contents_by_key(image):
                if candidate is content:
                    return f"image[{number}].{key}"
        raise LookupError(f"{self.path} has no such content")
