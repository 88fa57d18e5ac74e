"""The table `needs` of a plan: memory and features of kernels."""

from __future__ import annotations

from harness.core import toml


class KernelNeeds(toml.Table, frozen=True):
    """What one kernel must have."""

    built_in: tuple[str, ...] = ()  # features that must be in the kernel itself
    modular: tuple[str, ...] = ()  # features that may be modules, because the payload loads them

    def __bool__(self) -> bool:
        return bool(self.built_in or self.modular)


class Needs(toml.Table, frozen=True):
    """What a plan needs."""

    # memory that the payload takes, such as "4G", for kernels that can use only a part of it
    memory: str = ""
    seed: KernelNeeds = KernelNeeds()  # of the seed kernel
    second: KernelNeeds = KernelNeeds()  # of the kernel behind kexec, where the recipe brings one

    def of(self, role: str) -> KernelNeeds:
        """What the kernel in a role must have: "seed" or "second"."""
        return self.seed if role == "seed" else self.second

    @property
    def of_kernels(self) -> bool:
        """Whether it needs more than memory."""
        return bool(self.seed or self.second)


NO_NEEDS = Needs()


def joined(parts: list[Needs]) -> Needs:
    """All that several files need, each name once; the first that says how much memory counts."""
    return Needs(
        memory=next((part.memory for part in parts if part.memory), ""),
        seed=_joined([part.seed for part in parts]),
        second=_joined([part.second for part in parts]),
    )


def _joined(parts: list[KernelNeeds]) -> KernelNeeds:
    built_in = tuple(dict.fromkeys(name for part in parts for name in part.built_in))
    modular = tuple(dict.fromkeys(name for part in parts for name in part.modular if name not in built_in))
    return KernelNeeds(built_in=built_in, modular=modular)
