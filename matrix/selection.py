"""Selections: which kernels an installed stack would choose, as it told when it was asked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import Any, Final, Literal, get_args

import msgspec

from matrix.compiled import in_range
from matrix.model import Model
from matrix.path import Path
from matrix.target import Target
from matrix.vocabulary import Environment

LayerKind = Literal["dense_w4a4", "dense_w4a16", "moe_w4a4", "moe_w4a16", "kv_cache"]
"""What is chosen for: linear layers and experts with FP4 or 16-bit activations, and the KV cache."""

KINDS: Final[tuple[LayerKind, ...]] = get_args(LayerKind)

CAPABILITY: Final[dict[LayerKind, str]] = {
    "dense_w4a4": "gemm",
    "dense_w4a16": "gemm",
    "moe_w4a4": "moe",
    "moe_w4a16": "moe",
    "kv_cache": "kv-cache",
}
"""The capability whose paths a layer kind's choice is one of."""


class Candidate(Model, frozen=True, kw_only=True):
    """One kernel class or backend: whether it says that it can, in its own words, or why it was passed over.

    `supported`: null where it could not be asked. `kernel`: the class behind a backend's name. `calls`:
    the FlashInfer operation that it calls, as `flashinfer` beside it names it.
    """

    name: str
    supported: bool | None
    reason: str = ""
    kernel: str = ""
    calls: str = ""


class Opinion(Model, frozen=True, kw_only=True):
    """What FlashInfer's own support table says of one operation; null where it has none."""

    call: str
    supported: bool | None
    reason: str = ""


class LayerChoice(Model, frozen=True, kw_only=True):
    """What would be chosen for one layer kind on one target in one environment.

    `outcome`: `none` is a refusal to serve it at all; `unknown` was not or could not be asked; `reason`
    says why in both. `native`: by FP4 matrix instructions on both operands (null where nothing was
    chosen, or no path of the data has that name); `fallback` says what it is instead. `path`: the path
    of the data that was chosen.
    """

    outcome: Literal["chosen", "none", "unknown"]
    selected: str | None = None
    native: bool | None = None
    fallback: str = ""
    path: str = ""
    kernel: str = ""
    reason: str = ""
    candidates: tuple[Candidate, ...] = ()
    flashinfer: tuple[Opinion, ...] = ()


class EnvironmentChoices(Model, frozen=True, kw_only=True):
    """Every choice in one environment: by target, and in each by layer kind."""

    targets: dict[str, dict[LayerKind, LayerChoice]]


class Cubins(Model, frozen=True, kw_only=True):
    """Whether NVIDIA's cubins can be had, which decides some choices, and how that is known.

    They are reachable where flashinfer-cubin is installed, or the repository answers.
    """

    reachable: bool | None
    how: str


Kind = Literal["packages-disagree", "silent-fallback", "selected-incomplete"]
"""What an answer disagrees with: the package that it calls, the hardware, the published wheels."""


class SelectionConflict(Model, frozen=True, kw_only=True):
    """An answer that disagrees with another: `packages-disagree`, `silent-fallback` or `selected-incomplete`.

    `text` is plain sentences; `read` what was asked.
    """

    kind: Kind
    layer: LayerKind
    name: str
    environments: tuple[Environment, ...]
    targets: tuple[str, ...]
    text: str
    read: tuple[str, ...] = ()


class Selection(Model, frozen=True, kw_only=True):
    """What `select --json` prints: the answers of one installed stack.

    `machine`: the CPU that it was asked on. `elsewhere`: targets that exist with other CPUs alone; the
    wheels for those may answer differently. `asked_for`: checkpoint format and deployment, by layer
    kind. `seconds`: what the import and the questions took. `asked`: the UTC date. `installed`: the other
    packages that a stack's pins are followed for, as found there; `differs`: of those, what the release
    brings by the ledger where another version was found ("" for none); empty too where it is no release.
    """

    packages: dict[str, str]
    machine: str
    elsewhere: tuple[str, ...]
    cubins: Cubins
    asked_for: dict[LayerKind, dict[str, bool | int | str]]
    environments: dict[Environment, EnvironmentChoices]
    contradictions: tuple[SelectionConflict, ...]
    seconds: dict[str, float]
    asked: str = ""
    installed: dict[str, str] = {}  # noqa: RUF012 - msgspec copies an empty default
    differs: dict[str, str] = {}  # noqa: RUF012 - msgspec copies an empty default


class _Told(Model, frozen=True, kw_only=True):
    """What the interpreter that was asked sends back."""

    packages: dict[str, str]
    machine: str
    cubins: Cubins
    environments: dict[Environment, EnvironmentChoices]
    asked_for: dict[LayerKind, dict[str, bool | int | str]] = {}  # noqa: RUF012 - msgspec copies an empty default
    seconds: dict[str, float] = {}  # noqa: RUF012 - msgspec copies an empty default
    installed: dict[str, str] = {}  # noqa: RUF012 - msgspec copies an empty default


def question(
    gpus: Sequence[Target],
    environments: Sequence[Environment],
    cubins: str,
    packages: Collection[str],
    jobs: int,
) -> dict[str, object]:
    """Return what `probes/selection` is asked: of which GPUs, in which environments, `jobs` at a time.

    `cubins`: "ask", "reachable" or "unreachable". `packages`: whose versions it shall tell.
    """
    return {
        "targets": [
            {
                "name": gpu.name,
                "capability": divmod(gpu.capability, 10),
                "product": gpu.products[0],
                "shared_memory": gpu.shared_memory_bytes,
            }
            for gpu in gpus
        ],
        "environments": list(dict.fromkeys(environments)),
        "cubins": cubins,
        "jobs": jobs,
        "versions": sorted(packages),
    }


def selection(
    told: Any, targets: Sequence[Target], paths: Sequence[Path], asked: str = ""
) -> Selection:
    """Complete what an interpreter told on the day `asked` by the data: each choice's path.

    Contradictions, and what differs from the release's pins, come later. Raises msgspec.ValidationError for an answer of another shape.
    """
    answer = msgspec.convert(told, _Told)
    version = answer.packages["vllm"]
    here = [p for p in paths if p.package == "vllm" and in_range(version, p.versions)]
    gpus = {target.name: target for target in targets}
    environments = {
        name: EnvironmentChoices(
            targets={
                gpu: {kind: completed(kind, found[kind], gpus[gpu], here) for kind in found}
                for gpu, found in choices.targets.items()
            }
        )
        for name, choices in answer.environments.items()
    }
    return Selection(
        packages=answer.packages,
        machine=answer.machine,
        elsewhere=tuple(t.name for t in targets if answer.machine not in t.machines),
        cubins=answer.cubins,
        asked_for=answer.asked_for,
        environments=environments,
        contradictions=(),
        seconds=answer.seconds,
        asked=asked,
        installed=answer.installed,
    )


def completed(
    kind: LayerKind, choice: LayerChoice, target: Target, paths: Sequence[Path]
) -> LayerChoice:
    """Find the path of the data that was chosen: by its name, by the function called, or by a scheme without a choice.

    A KV cache is chosen by its attention backend, whose module the path's source is, and the family.
    """
    choice = msgspec.structs.replace(choice, native=None, fallback="", path="")
    for path in paths if choice.selected else ():
        if kind == "kv_cache":
            names = {PurePosixPath(path.source).stem.upper()}
        else:
            names = {path.selector, *path.schemes}
        fits = not path.families or target.family in path.families
        named = choice.selected in names or path.selector == choice.kernel
        if path.capability == CAPABILITY[kind] and named and fits:
            return msgspec.structs.replace(
                choice, native=path.native, fallback=path.fallback, path=path.path
            )
    return choice
