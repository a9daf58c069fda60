"""Defects: what static reading cannot see, as `defects.yaml` states it, each with its source."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from matrix.model import Model
from matrix.target import Name
from matrix.vocabulary import Machine, Reason


class Defect(Model, frozen=True, kw_only=True):
    """A known failure of one piece (or, with no `piece`, of one path) in a range of releases.

    `package` and `versions` say whose releases have it: the piece's provider, or any other package of
    the stack (cuDNN, for instance). `effect` "broken" takes the piece away; "warns" is told beside it.
    `source`: where it can be checked (wheel and tool, upstream issue, release notes).
    """

    defect: Annotated[str, Meta(pattern=r"^[a-z0-9-]+$")]
    package: str
    versions: Annotated[str, Meta(min_length=1)]
    targets: tuple[Name, ...]
    machines: tuple[Machine, ...] = ()
    piece: str | None = None
    path: str | None = None
    reason: Reason
    effect: Literal["broken", "warns"] = "broken"
    summary: str
    source: Annotated[str, Meta(min_length=1)]


class DefectsFile(Model, frozen=True, kw_only=True):
    """The content of `defects.yaml`."""

    defects: tuple[Defect, ...]
