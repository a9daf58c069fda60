"""How one range of vLLM releases is asked. A release that no range names is not guessed at."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from probes.selection import vllm_inline, vllm_oracle, vllm_scheme
from probes.selection.answer import Answer
from probes.selection.stated import Gpu

Ask = Callable[[Gpu], Answer]
Configuration = Mapping[str, Mapping[str, object]]
"""Checkpoint format and deployment, by layer kind."""


class Release(NamedTuple):
    """A range of releases (first included, `below` excluded) whose choice is asked in the same way.

    `modules` are imported once, before the children are forked; `warm` too, where they
    can be, to save time alone. `kinds`: how each layer kind is asked;
    `asked_for`: with which layer. `reachable`: its own question for NVIDIA's repository of cubins;
    `state_reachable` answers it from then on.
    """

    first: tuple[int, ...]
    below: tuple[int, ...]
    modules: tuple[str, ...]
    warm: tuple[str, ...]
    kinds: Mapping[str, Ask]
    asked_for: Configuration
    reachable: Callable[[], bool]
    state_reachable: Callable[[bool], None]


def _oracle(
    first: tuple[int, ...],
    below: tuple[int, ...],
    *,
    modules: tuple[str, ...] = vllm_oracle.MODULES,
    kinds: Mapping[str, Ask] = vllm_oracle.KINDS,
    asked_for: Configuration = vllm_oracle.ASKED_FOR,
    warm: tuple[str, ...] = (),
) -> Release:
    return Release(
        first,
        below,
        modules,
        (*vllm_oracle.WARM, *warm),
        kinds,
        asked_for,
        vllm_oracle.reachable,
        vllm_oracle.state_reachable,
    )


_SCHEMES = {**vllm_oracle.KINDS, "dense_w4a16": vllm_scheme.weight_only}
"""Kernel classes for W4A4 layers, and a scheme without a choice for W4A16 ones."""

_LINEAR = {**_SCHEMES, "dense_w4a4": vllm_scheme.dense}
"""Linear layers choose in their schemes, experts by an oracle."""

_LINEAR_ASKED = {**vllm_scheme.LATER, "dense_w4a4": vllm_scheme.ASKED_FOR["dense_w4a4"]}

RELEASES = (
    _oracle(
        (0, 12, 0),
        (0, 15, 0),
        modules=vllm_scheme.MODULES,
        kinds=vllm_scheme.KINDS,
        asked_for=vllm_scheme.ASKED_FOR,
    ),
    _oracle(
        (0, 15, 0),
        (0, 16, 0),
        modules=vllm_scheme.MODULES,
        kinds=_LINEAR,
        asked_for=_LINEAR_ASKED,
    ),
    _oracle(
        (0, 16, 0),
        (0, 20, 0),
        modules=vllm_inline.MODULES,
        kinds=vllm_inline.KINDS,
        asked_for=vllm_scheme.LATER,
        warm=vllm_scheme.MODULES,
    ),
    _oracle(
        (0, 20, 0),
        (0, 23, 0),
        kinds=_SCHEMES,
        asked_for=vllm_scheme.LATER,
        warm=vllm_scheme.MODULES,
    ),
    _oracle((0, 23, 0), (0, 34, 0)),
)
"""Only ranges of which a release of every minor was asked: what lies between them is not guessed at."""

_FINAL = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:\.post\d+)?(?:\+\S+)?")


def adapter(version: str) -> Release | None:
    """Return how a release of vLLM is asked; None for one that is not known, pre-releases included."""
    found = _FINAL.fullmatch(version)
    if found is None:
        return None
    number = tuple(int(part) for part in found.groups())
    return next((r for r in RELEASES if r.first <= number < r.below), None)


def known() -> str:
    """Name the releases that can be asked, for a message; ranges that meet are one."""
    ends = [(release.first, release.below) for release in RELEASES]
    firsts = [first for first, _ in ends if first not in {below for _, below in ends}]
    lasts = [below for _, below in ends if below not in {first for first, _ in ends}]
    return ", ".join(
        f"{_dotted(first)} up to {_dotted(below)}"
        for first, below in zip(firsts, lasts)  # noqa: B905 - Python 3.9 has no strict
    )


def _dotted(number: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in number)
