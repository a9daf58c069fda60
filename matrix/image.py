"""What an image turned out to be: what is installed, compiled and selected in it, against what was promised. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from packaging.utils import canonicalize_name

from matrix.capability import Piece
from matrix.compiled import compiled
from matrix.evidence.record import WheelEvidence
from matrix.held import Held
from matrix.model import Model
from matrix.selection import LayerKind, Selection
from matrix.target import Target
from matrix.vocabulary import Compiled, Environment, Machine


class Difference(Model, frozen=True, kw_only=True):
    """Something in an image that is not what was promised.

    `pin`: the lock names another version. `compiled`: the ledger's record of the same release holds other
    kernels. `selected`: the release said, when it was asked, that it chooses another. `target` is "" for a pin.
    """

    kind: Literal["pin", "compiled", "selected"]
    what: str
    target: str = ""
    promised: str
    found: str


class AuditedPackage(Model, frozen=True, kw_only=True):
    """One installed package that was read: what is compiled, by capability and target.

    `promised`: whether the ledger has a record of that release, by today's rules, to hold it against. `release`: the
    nearest one that a package built from source is held against, "" for any other and where there is none.
    """

    package: str
    version: str
    promised: bool
    release: str = ""
    compiled: dict[str, dict[str, Compiled]]


class Asked(Model, frozen=True, kw_only=True):
    """What the installed stack would choose, by target and layer kind; "" where it refuses or cannot be asked.

    `promised`: whether the ledger keeps what that release said, to hold it against.
    """

    promised: bool
    choices: dict[str, dict[LayerKind, str]]


class LockReport(Model, frozen=True, kw_only=True):
    """What `build --lock-only --json` prints. `lock`: the file; `glibc`: the oldest that its wheels run on."""

    stack: str
    machine: Machine
    environment: Environment
    python: str
    glibc: str
    lock: str
    pins: dict[str, str]


class ImageReport(Model, frozen=True, kw_only=True):
    """What `build --json` prints, and what is kept beside an image.

    `built`: false where it was there already. `id` is the engine's, `size` in bytes, `base` by digest. `pins`: of the
    lock; `installed`: as found. `asked`: null for a stack without vLLM. `seconds`: what each step took.
    `files`: the folder of Dockerfile, lock, freeze and log. `pushed`: where it was pushed last, by digest.
    """

    stack: str
    target: str
    machine: Machine
    environment: Environment
    python: str
    base: str
    image: str
    id: str
    fingerprint: str
    size: int
    built: bool
    made: str
    seconds: dict[str, float]
    lock: str
    files: str
    pins: dict[str, str]
    installed: dict[str, str]
    audited: tuple[AuditedPackage, ...]
    asked: Asked | None
    differences: tuple[Difference, ...]
    pushed: str = ""


def pins_differ(pins: Mapping[str, str], installed: Mapping[str, str]) -> Iterator[Difference]:
    """Tell which pins are not installed as they are pinned. What is installed beside them (pip) is no difference."""
    there = {canonicalize_name(name): version for name, version in installed.items()}
    for name, version in pins.items():
        got = there.get(canonicalize_name(name), "")
        if got != version:
            yield Difference(kind="pin", what=name, promised=version, found=got or "not installed")


def audited(
    found: WheelEvidence,
    promised: WheelEvidence | None,
    capabilities: Sequence[str],
    targets: Sequence[Target],
    pieces: Sequence[Piece],
) -> tuple[AuditedPackage, tuple[Difference, ...]]:
    """Fold what was read in an image, and tell where the record of the same release says otherwise."""
    here, record = Held(found), Held(promised) if promised else None
    lamps: dict[str, dict[str, Compiled]] = {}
    differs: list[Difference] = []
    for capability in capabilities:
        for target in targets:
            got = compiled(here, capability, target.capability, pieces)
            lamps.setdefault(capability, {})[target.name] = got.compiled
            if record is None:
                continue
            said = compiled(record, capability, target.capability, pieces)
            if (got.compiled, got.kernels) != (said.compiled, said.kernels):
                differs.append(
                    Difference(
                        kind="compiled",
                        what=f"{found.package} {capability}",
                        target=target.name,
                        promised=f"{said.compiled}, {said.kernels} kernels",
                        found=f"{got.compiled}, {got.kernels} kernels",
                    )
                )
    package = AuditedPackage(
        package=found.package,
        version=found.version,
        promised=promised is not None,
        compiled=lamps,
    )
    return package, tuple(differs)


def asked(
    made: Selection, kept: Selection | None, environment: Environment
) -> tuple[Asked, tuple[Difference, ...]]:
    """Fold what an image's stack would choose, and tell where the same release once said otherwise."""
    here = _choices(made, environment)
    before = _choices(kept, environment) if kept else {}
    differs = [
        Difference(
            kind="selected",
            what=layer,
            target=target,
            promised=before[target][layer] or "none",
            found=choice or "none",
        )
        for target, layers in here.items()
        for layer, choice in layers.items()
        if before.get(target, {}).get(layer, choice) != choice
    ]
    return Asked(promised=kept is not None, choices=here), tuple(differs)


def _choices(made: Selection, environment: Environment) -> dict[str, dict[LayerKind, str]]:
    there = made.environments.get(environment)
    return {
        target: {layer: choice.selected or "" for layer, choice in layers.items()}
        for target, layers in (there.targets if there else {}).items()
    }
