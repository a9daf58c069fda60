"""Stacks: sets of pins that are installed together, as `stacks.yaml` states them and as resolved."""

from __future__ import annotations

from matrix.model import Model


class AsReleased(Model, frozen=True, kw_only=True):
    """Every release in `range` is a stack named by its requirement; each extra makes one more."""

    range: str
    extras: tuple[str, ...] = ()
    note: str = ""


class WrittenStack(Model, frozen=True, kw_only=True):
    """A stack by hand. The first pin leads; `pins` maps a distribution to what it is held at (`matrix.pin`).

    `repositories`: where a package that is built from a commit comes from, if not from where `repositories.yaml`
    says: a git URL or a folder of this machine.
    """

    name: str
    pins: dict[str, str]
    repositories: dict[str, str] = {}  # noqa: RUF012 - msgspec copies an empty default
    note: str = ""


class StacksFile(Model, frozen=True, kw_only=True):
    """The content of `stacks.yaml`."""

    as_released: tuple[AsReleased, ...]
    written: tuple[WrittenStack, ...] = ()


class Pin(Model, frozen=True, kw_only=True):
    """One package of a stack. `version` "" with a `why`: required by the stack but not resolvable."""

    package: str
    version: str
    why: str = ""


class Stack(Model, frozen=True, kw_only=True):
    """A resolved stack on one machine: the leading package first, an absent requirement is absent."""

    name: str
    machine: str
    pins: tuple[Pin, ...]
    note: str = ""

    @property
    def lead(self) -> Pin:
        """The package whose choice of kernels the stack is about."""
        return self.pins[0]

    def version(self, package: str) -> str | None:
        """Version of `package` in this stack, or None where the stack does not install it."""
        for pin in self.pins:
            if pin.package == package:
                return pin.version or None
        return None
