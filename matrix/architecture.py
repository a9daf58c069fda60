"""Which machine code a GPU can load: pure rules over compute capabilities.

Source of every rule: CUDA programming guide, appendix on compute capabilities (binary compatibility,
architecture-specific and family-specific features).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal, NamedTuple

Suffix = Literal["", "a", "f"]

_IMAGE = re.compile(r"^(?:sm|compute)_([1-9][0-9]{1,2})([af]?)\Z")


class Architecture(NamedTuple):
    """An architecture as ptxas names it: `sm_120f` is capability 120 with suffix "f"."""

    capability: int
    suffix: Suffix

    @property
    def major(self) -> int:
        """Major compute capability: 12 of 12.1."""
        return self.capability // 10

    @property
    def family(self) -> str:
        """Family in which `f` machine code can be loaded: "sm12x"."""
        return f"sm{self.major}x"


@cache
def parse(name: str) -> Architecture:
    """Read `sm_120f`, `sm_100a`, `compute_90`.

    Raises ValueError for anything else.
    """
    found = _IMAGE.match(name)
    if found is None:
        raise ValueError(f"{name!r} is no GPU architecture")
    suffix: Suffix = "a" if found[2] == "a" else "f" if found[2] == "f" else ""
    return Architecture(int(found[1]), suffix)


@cache
def loadable(image: str, capability: int) -> bool:
    """Say whether a GPU of `capability` (12.1 is 121) can load machine code built for `image`.

    Plain: same major, equal or higher minor. `a`: that capability only. `f`: the family, which is the
    major version on 9x to 12x, at an equal or higher minor.
    """
    built = parse(image)
    if built.suffix == "a":
        return built.capability == capability
    return built.major == capability // 10 and built.capability <= capability


@cache
def translatable(ptx: str, capability: int) -> bool:
    """Say whether the driver can translate PTX built for `ptx` on a GPU of `capability`.

    Plain PTX goes to anything equal or newer; `a` and `f` PTX do not leave their target or family.
    """
    built = parse(ptx)
    if built.suffix:
        return loadable(ptx, capability)
    return built.capability <= capability


def holds_fp4(image: str) -> bool:
    """Say whether code for `image` can hold FP4 instructions at all.

    ptxas accepts them for `a` and `f` targets of 10x, 11x and 12x only.
    """
    built = parse(image)
    return bool(built.suffix) and built.capability >= 100  # noqa: PLR2004 - first with FP4
