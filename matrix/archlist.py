"""For which architectures a source is built, so that each target gets FP4 kernels that it can load. Pure.

A list is never trusted by its look: what the source's own CMake keeps of it is followed (`matrix.cmakefile`), and
the result held against what a GPU loads (`matrix.architecture`). Three traps that this finds: `12.1` with CUDA 13 in
vLLM 0.19.1, kept as it stands, so that FP4 kernels become plain machine code without FP4 instructions; `12.1` with
CUDA 12.9 before 0.19, made `12.0a`, which a 12.1 cannot load; `10.3`, made `10.1a` alike.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from packaging.version import Version

from matrix.architecture import holds_fp4, loadable
from matrix.cmakefile import Rules, kept
from matrix.errors import ConfigurationError
from matrix.target import Target

_ENTRY: Final = re.compile(r"[0-9]{1,2}\.[0-9][af]?(?:\+PTX)?", re.ASCII)
_FAMILIES: Final = Version("12.9")
"""The first CUDA whose ptxas knows family targets (`f`)."""


class Chosen(NamedTuple):
    """A list, what the FP4 kernels are compiled for by it ("sm_120f"), and the targets that can load that."""

    archs: tuple[str, ...]
    images: tuple[str, ...]
    served: tuple[Target, ...]


def chosen(rules: Rules | None, cuda: str, targets: Sequence[Target], by_hand: str = "") -> Chosen:
    """Choose the shortest list that serves as many of `targets` as can be; `by_hand` is the user's own.

    `rules` None: the source has no CMake of that form, and compiles for what stands in the list. Raises
    ConfigurationError where no list serves any of them, and for one by hand that would lose a target that ours serves.
    """
    ours = _ours(rules, cuda, targets)
    if not ours.served:
        names = ", ".join(target.name for target in targets)
        raise ConfigurationError(
            f"no list of architectures makes this source hold FP4 kernels for {names} with CUDA {cuda}: take a "
            "--builder with another CUDA, another --target, or another commit"
        )
    if not by_hand:
        return ours
    archs = tuple(each for each in re.split(r"[;\s]+", by_hand) if each)
    wrong = [each for each in archs if not _ENTRY.fullmatch(each)]
    if wrong or not archs:
        raise ConfigurationError(
            f"--arch-list {by_hand[:60]!r}: write it as {';'.join(ours.archs) or '12.0'}"
        )
    told = _served(rules, cuda, archs, targets)
    lost = [target.name for target in ours.served if target not in told.served]
    if lost or any(each.endswith("+PTX") for each in archs):
        why = (
            f"the FP4 kernels for {', '.join(lost)} would be lost"
            if lost
            else "+PTX is dropped for FP4 kernels"
        )
        raise ConfigurationError(
            f"--arch-list {by_hand}: {why}; with CUDA {cuda} write it as {';'.join(ours.archs)}"
        )
    return told


def _ours(rules: Rules | None, cuda: str, targets: Sequence[Target]) -> Chosen:
    known = [target for target in targets if Version(target.first_cuda) <= Version(cuda)]
    options = [
        [
            (arch,)
            for arch in _spellings(target, rules)
            if target in _served(rules, cuda, (arch,), [target]).served
        ]
        for target in known
    ]
    options = [each for each in options if each]
    best = Chosen((), (), ())
    picks = {frozenset(one for (one,) in pick) for pick in itertools.product(*options)}
    for pick in sorted(picks, key=_plainness):
        made = _served(rules, cuda, tuple(sorted(pick, key=_order)), known)
        if len(made.served) > len(best.served):
            best = made
        if len(best.served) >= len(options):
            break
    return best


def _plainness(pick: frozenset[str]) -> tuple[int, int, list[str]]:
    """Return what is less for a better list: fewer suffixes (not every torch reads `f`), shorter."""
    return sum(each[-1] in "af" for each in pick), len(pick), sorted(pick)


def _spellings(target: Target, rules: Rules | None) -> Iterator[str]:
    """Yield how a target may be asked for: plainly first, for the source's lists know what that needs."""
    major, own = target.compute_capability.partition(".")[0], target.compute_capability
    if rules is None:
        yield f"{own}a"  # torch's own lists (torch.utils.cpp_extension, 2.13) know no `f`
        return
    for base in dict.fromkeys((f"{major}.0", own)):
        yield from (base, f"{base}f", f"{base}a")


def _served(
    rules: Rules | None, cuda: str, archs: tuple[str, ...], targets: Sequence[Target]
) -> Chosen:
    names = (
        kept(rules, cuda, archs) if rules else tuple(each.removesuffix("+PTX") for each in archs)
    )
    images = tuple(f"sm_{each.replace('.', '')}" for each in names)
    usable = [each for each in images if holds_fp4(each) and _compiles(each, cuda, targets)]
    served = tuple(t for t in targets if any(loadable(each, t.capability) for each in usable))
    return Chosen(archs, images, served)


def _compiles(image: str, cuda: str, targets: Sequence[Target]) -> bool:
    """Say whether ptxas of `cuda` takes an image, as far as the targets tell."""
    if image.endswith("f") and Version(cuda) < _FAMILIES:
        return False
    number = image.removeprefix("sm_")[:-1]
    first = next((t.first_cuda for t in targets if str(t.capability) == number), "0")
    return Version(first) <= Version(cuda)


def _order(arch: str) -> tuple[int, int, str]:
    major, minor = arch.rstrip("af").split(".")
    return int(major), int(minor), arch
