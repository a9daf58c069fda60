"""Capabilities and the pieces that deliver them, as `capabilities.yaml` states them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from matrix.model import Model
from matrix.vocabulary import Delivery, Format

PieceName = Annotated[str, Meta(pattern=r"^[a-z0-9_]+(\.[a-z0-9_-]+)+$")]
Family = Annotated[str, Meta(pattern=r"^sm\d{1,2}x$")]


class Capability(Model, frozen=True, kw_only=True):
    """Something that a deployment needs. `headline`: shown when the user names no capability.

    `executed_only`: nothing can be read of it in a wheel; it has a cell where a result does, and only there.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9-]+$")]
    title: str
    format: Format
    headline: bool = False
    executed_only: bool = False
    note: str = ""


class Instruction(Model, frozen=True, kw_only=True):
    """A class of SASS instructions that proves a kernel: one regular expression per family.

    Searched in each line of nvdisasm's output. A family without an entry has no such instruction.
    """

    name: str
    families: dict[Family, str]
    source: str


class Piece(Model, frozen=True, kw_only=True):
    """One thing that a path calls at run time, with its provider (`package`) and `delivery`.

    `capabilities`: where the piece counts for the compiled lamp of its own package; `required` false
    means that it is told but does not decide. `versions`: the provider's releases that have it (PEP 440
    specifiers; empty is all).

    delivery `image`: `symbol` (searched in the mangled name of a kernel entry), `exclude` (a match takes
    the kernel out), `families` (more that the name must match on images of that family; a family
    left out cannot hold this piece when `families` is given), `objects` (searched in the member's path),
    `instruction` (by name; a kernel without it is a trap; none: loading is enough), `ptx` (some releases carry it as PTX, of which cuobjdump names
    no entries: where no image loads and the object has PTX to translate, the answer is unknown).
    delivery `jit` and `dsl`: `gate` says for which targets the provider generates code.
    delivery `cubin`: `cubin` is searched in the cubin file names, `families` as above.
    delivery `library`: `libraries` are the distributions that bring it, `minimum` the oldest version.
    `needs`: distributions that it cannot run without though nothing of the piece is in them (the DSL's
    compiler). The package "*" stands for every package without a rule of its own.
    """

    piece: PieceName
    package: str
    delivery: Delivery
    capabilities: tuple[str, ...] = ()
    required: bool = True
    versions: str = ""
    symbol: str = ""
    exclude: str = ""
    objects: str = ""
    families: dict[Family, str] | None = None
    instruction: str | None = None
    ptx: bool = False
    gate: str | None = None
    cubin: str = ""
    libraries: tuple[str, ...] = ()
    minimum: str = ""
    needs: tuple[str, ...] = ()
    note: str = ""


Reader = Literal["kernels", "cubins", "torch", "dsl", "source", "library"]


class PackageRule(Model, frozen=True, kw_only=True):
    """How a distribution is read, beside its METADATA, its gates and the names of its cubins.

    `reader`: `kernels` (its shared objects, for machine code), `cubins` (the names of its cubin files
    tell all), `torch` (how torch was built), `dsl` (what NVIDIA's DSL compiles for), `source` (Python
    that generates code at run time), `library` (its version tells all).
    `versions`: the releases that the ledger holds. `python_tags`: of a wheel that is published per
    Python version, the tags that are read, in order of preference. `skip_objects`: shared objects that
    are not read (searched in the member's path), with the reason in `note`.
    """

    package: str
    reader: Reader
    versions: str = ""
    python_tags: tuple[str, ...] = ("cp312",)
    skip_objects: str = ""
    note: str = ""


class CapabilitiesFile(Model, frozen=True, kw_only=True):
    """The content of `capabilities.yaml`."""

    capabilities: tuple[Capability, ...]
    instructions: tuple[Instruction, ...]
    packages: tuple[PackageRule, ...]
    pieces: tuple[Piece, ...]

    @property
    def readable(self) -> tuple[Capability, ...]:
        """The capabilities that wheels are read for."""
        return tuple(each for each in self.capabilities if not each.executed_only)
