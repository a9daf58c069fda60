"""Drivers: which Linux driver a CUDA toolkit needs, as `drivers.yaml` states it, and whether one is enough.

The rule is the strict one: a stack needs the driver that its CUDA toolkit was released with. NVIDIA's
minor-version compatibility would admit more (any 12.x on 525 or newer, any 13.x on 580 or newer; CUDA
Compatibility, section "Minor Version Compatibility"), "with limited feature-set": PTX of a newer toolkit
is not translated and new driver calls fail. FP4 code is where that bites, since what is compiled at
run time, Triton's kernels and CUDA graphs are parts of every path. The same holds for the GPU: a driver
older than that of the first toolkit for a target does not know the target, whatever the stack was
built with (570 for B200 and RTX 5090, 575 for B300, 580 for Jetson Thor).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from matrix.document import load
from matrix.errors import ConfigurationError
from matrix.model import Model
from matrix.target import Toolkit

HERE: Final = Path(__file__).parent
_DRIVER: Final = re.compile(r"[0-9]{3,4}(?:\.[0-9]{1,4}){0,2}")


class ToolkitDriver(Model, frozen=True, kw_only=True):
    """A CUDA toolkit ("13.0") and the oldest Linux driver that has all it needs ("580.65.06")."""

    cuda: Toolkit
    driver: Annotated[str, Meta(pattern=r"^[0-9]{3}(\.[0-9]+){1,2}$")]


class DriversFile(Model, frozen=True, kw_only=True):
    """The content of `drivers.yaml`: oldest toolkit first. `source` names the table that was read."""

    source: str
    drivers: tuple[ToolkitDriver, ...]

    def needed(self, cuda: str) -> str:
        """Return the driver that toolkit `cuda` needs; "" where neither it nor an older one is listed.

        A toolkit that is not listed needs at least what the newest listed one before it needs.
        """
        asked = numbers(cuda)
        older = [each.driver for each in self.drivers if numbers(each.cuda) <= asked]
        return max(older, key=numbers, default="")


@cache
def drivers() -> DriversFile:
    """Read `drivers.yaml`. Raises ConfigurationError, which names file and line."""
    return load(HERE / "drivers.yaml", DriversFile)


def numbers(version: str) -> tuple[int, ...]:
    """Read "570.86.10" as numbers."""
    return tuple(int(part) for part in version.split("."))


def check(driver: str) -> None:
    """Raise ConfigurationError unless `driver` reads like nvidia-smi's driver version, or its first part."""
    if not _DRIVER.fullmatch(driver):
        raise ConfigurationError(
            f"{driver!r} is no driver version: write it as nvidia-smi does, such as 580.95.05, or 580"
        )


def older(driver: str, needed: str) -> bool:
    """Say whether `driver` is older than `needed`, as far as `driver` is written out.

    "580" is a branch and not older than 580.65.06; "570.86" is older than 570.124.06.
    """
    given = numbers(driver)
    return given < numbers(needed)[: len(given)]
