"""Paths: the kernel classes that a library can select, and their pieces, as `paths.yaml` states them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from matrix.capability import Family, PieceName
from matrix.model import Model


class Path(Model, frozen=True, kw_only=True):
    """One way in which a leading package carries out one capability, in one range of its releases.

    `selector` is the class or enum member as upstream names it, or the function where it has neither.
    `schemes`: quantization schemes that take it without a choice, by class. `native`: FP4 matrix instructions on
    both operands; false for weight-only and emulation, with `fallback` saying which. `gate`: the claim
    that must not be "no" for the library to consider the path. `families`: where upstream allows it
    (empty: everywhere). `on_request`: the switch without which the library passes it over. `pieces`: everything it calls at run time. `source`: file in the wheel.
    Several entries may share a name, one a release range.
    """

    path: PieceName
    package: str
    capability: str
    selector: str
    schemes: tuple[str, ...] = ()
    versions: str = ""
    native: bool = True
    fallback: Literal["", "weight_only_fallback", "emulation_fallback"] = ""
    gate: str | None = None
    families: tuple[Family, ...] = ()
    on_request: str = ""
    pieces: tuple[PieceName, ...]
    source: Annotated[str, Meta(min_length=1)]
    note: str = ""


class PathsFile(Model, frozen=True, kw_only=True):
    """The content of `paths.yaml`."""

    paths: tuple[Path, ...]
