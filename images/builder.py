"""The image in which wheels are built, and how much at a time fits into its machine. Pure."""

from __future__ import annotations

import hashlib
import importlib.resources
from typing import Final

import jinja2

from images.context import tarred
from images.recipe import MARK, NAME, check_base, check_python

JOB_MEMORY: Final = 5 << 30
"""Bytes for one compiler: 3 to 5 GB were seen for a thread of nvcc, with CUDA 12.8 and torch 2.9
(Dao-AILab/flash-attention, pull request 2079, which settles on 5)."""

RESERVE: Final = 2 << 30
"""Bytes for the system and whatever else runs there."""


def dockerfile(base: str, python: str) -> str:
    """Return the builder's Dockerfile. Raises ConfigurationError for what must not stand in one."""
    return _rendered(base, python, fingerprint(base, python))


def fingerprint(base: str, python: str) -> str:
    """Return 64 hex digits over all of the builder."""
    check_base(base)
    check_python(python)
    return hashlib.sha256(_rendered(base, python, "").encode()).hexdigest()


def tag(base: str, python: str) -> str:
    """Return the builder's name."""
    return f"{NAME}-builder:{fingerprint(base, python)[:20]}"


def context(base: str, python: str) -> bytes:
    """Return what is sent to the engine to build the builder."""
    return tarred({"Dockerfile": dockerfile(base, python).encode()})


def jobs(memory: int, processors: int) -> int:
    """Say how many compilers run at a time: one a processor, as far as `memory` (bytes) goes.

    nvcc's own threads stay at one: of the builds, some multiply the two and some divide them (vLLM's setup.py,
    `compute_num_jobs`; vllm-project/vllm issue 20079).
    """
    return max(1, min(processors, (memory - RESERVE) // JOB_MEMORY))


def _rendered(base: str, python: str, digits: str) -> str:
    text = (importlib.resources.files("images") / "Builder.j2").read_text(encoding="utf-8")
    # Nothing is escaped: base and Python were matched whole against patterns.
    environment = jinja2.Environment(  # noqa: S701 - no HTML
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(text).render(
        base=base, python=python, mark=MARK, fingerprint=digits
    )
