"""Which kernels really ran: by torch's profiler, on a GPU CUPTI's names, on a CPU the names that a subject gives."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

from probes.kernelnames import NEEDED, Kind, known

_T = TypeVar("_T")


def kernels(work: Callable[[], _T], device: torch.device) -> tuple[_T, tuple[str, ...]]:
    """Run `work` under the profiler; return what it returns, and the kernels that ran, in order, each once.

    What `work` raises stands: on a device that is lost the profiler, which waits for it as it stops, would raise another error.
    """
    cuda = device.type == "cuda"
    watched = profile(activities=[ProfilerActivity.CUDA] if cuda else [ProfilerActivity.CPU])
    watched.start()
    try:
        made = work()
    except BaseException:
        with contextlib.suppress(Exception):
            watched.stop()
        raise
    watched.stop()
    names = _on_device(watched) if cuda else _annotated(watched)
    return made, tuple(dict.fromkeys(names))


def warm(device: torch.device) -> None:
    """Pay for the profiler's first start (0.7 s) once, before processes are forked; not where that would start CUDA."""
    if device.type != "cuda":
        kernels(lambda: None, device)


def _on_device(watched: Any) -> list[str]:
    """Return the names of what ran on the GPU: kernels, not copies."""
    return [
        event.name
        for event in watched.events()
        if "CUDA" in str(event.device_type) and not event.name.startswith(("Mem", "cuda"))
    ]


def _annotated(watched: Any) -> list[str]:
    """Return the names that a subject on a CPU gives by `record_function`.

    Of Kineto's own events where torch has them: making the tree of thousands takes a hundred times as long as what is watched.
    """
    try:
        return [
            each.name()
            for each in watched.profiler.kineto_results.events()
            if each.is_user_annotation()
        ]
    except AttributeError:
        return [event.name for event in watched.events() if event.is_user_annotation]


def fallback(names: tuple[str, ...], operation: str = "gemm") -> str:
    """Return the reason where an operation did not run on native FP4 kernels, "" where it did.

    A weight-only kernel is `weight_only_fallback`. Emulation, or a product in 16 bits where no FP4 one ran, is
    `emulation_fallback`: a native quantization before it does not make the product native. `not_proven` where no rule of
    `probes.kernelnames` knows a kernel that does what the operation needs.
    """
    rules = [rule for rule in map(known, names) if rule is not None]
    kinds = {rule.kind for rule in rules}
    native = any(rule.kind is Kind.NATIVE and rule.does in NEEDED[operation] for rule in rules)
    if Kind.WEIGHT_ONLY in kinds:
        return "weight_only_fallback"
    multiplies = "multiply" in NEEDED[operation]
    if multiplies and not native and kinds & {Kind.EMULATION, Kind.DENSE_16}:
        return "emulation_fallback"
    if any(rule.kind is Kind.EMULATION and rule.does for rule in rules):
        return "emulation_fallback"
    return "" if native else "not_proven"


def families(names: tuple[str, ...], operation: str) -> tuple[str, ...]:
    """Return whose kernels did what the operation needs, each once; one whose name does not tell is left out."""
    rules = [rule for rule in map(known, names) if rule is not None]
    told = [rule.family for rule in rules if rule.does in NEEDED[operation] and rule.family]
    return tuple(dict.fromkeys(told))


def verdict(names: tuple[str, ...], operation: str, family: str) -> str:
    """Return the reason where the kernels that ran are not those of the backend that was asked for, "" where they are.

    `family`: whose kernels the backend's are, "" where that is not known. As `fallback` says, and `setting_ignored` where native kernels of
    another family ran, and none of this.
    """
    if reason := fallback(names, operation):
        return reason
    ran = families(names, operation)
    return "setting_ignored" if family and ran and family not in ran else ""
