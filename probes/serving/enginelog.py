"""What vLLM says in its log: which kernels it chose, whether those are native, and what went wrong."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Final

from probes.reason import UNNAMED, of_death, of_text

_KERNELS: Final = (
    re.compile(r"Using ([A-Za-z0-9_.-]{1,80}) for NVFP4 GEMM"),
    re.compile(r"Using '?([A-Za-z0-9_.-]{1,80})'? NvFp4 MoE backend"),
)
"""vllm/model_executor/kernels/linear/__init__.py and fused_moe/oracle/nvfp4.py; older releases say the same."""

_SIGNS: Final = (
    ("Your GPU does not have native support for FP4", "marlin"),
    ("NVFP4 linear falling back to the slow and unoptimized emulation", "emulation"),
)
_FALLBACKS: Final = (
    ("emulation", "emulation_fallback"),
    ("marlin", "weight_only_fallback"),
    ("humming", "weight_only_fallback"),
)
_TROUBLE: Final = re.compile(
    r"\b(ERROR|CRITICAL)\b|Traceback \(most recent call last\)|Fatal Python error|terminate called"
    r"|CUDA error|Segfault encountered|error:",
)
"""Where trouble begins: of the lines before it none is read as one."""

_DEAD: Final = re.compile(r"Failed core proc\(s\): \{[^}]*?: (-?[0-9]{1,3})")
"""vllm/v1/engine/utils.py: the exit codes of engine processes that died while starting."""

_TUNING: Final = re.compile(
    r"autotun|warm(ing)?[ _-]?up|captur\w+ (cuda|cudagraph|graph)", re.IGNORECASE
)
_LAST: Final = 256 << 10
"""Bytes at a log's end that are read for what went wrong."""


def kernels(log: Path) -> tuple[str, ...]:
    """Return the kernels that the engine says it uses, in order, each once."""
    found: dict[str, None] = {}
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            for pattern in _KERNELS:
                if match := pattern.search(line):
                    found[match[1]] = None
            for sign, name in _SIGNS:
                if sign in line:
                    found[name] = None
    return tuple(found)


def fallback(names: tuple[str, ...]) -> str:
    """Return the reason where kernels by these names are no native ones; "" where all are."""
    for word, reason in _FALLBACKS:
        if any(word in name.lower() for name in names):
            return reason
    return ""


def trouble(log: Path, code: int = 0) -> tuple[str, str]:
    """Return the reason that a log tells of, UNNAMED where none, and the line that says most.

    `code`: the exit code of the server, negative for a signal. What an engine process died of counts before that.
    """
    lines = tail(log).splitlines()
    first = next((at for at, line in enumerate(lines) if _TROUBLE.search(line)), len(lines))
    told = lines[first:] or lines[-20:]
    for line in told:
        if (reason := of_text(line)) != UNNAMED:
            return reason, line.strip()
    text = "\n".join(told)
    died = _DEAD.search(text)
    number = -int(died[1]) if died else -code
    last = next((line.strip() for line in reversed(told) if line.strip()), "it said nothing")
    if 0 < number < signal.NSIG:
        return of_death(number, text, out_of_memory=False), last
    return UNNAMED, last


def stalled(log: Path) -> bool:
    """Whether the last thing that was said is that kernels are tuned, warmed up or captured."""
    said = [line for line in tail(log).splitlines() if line.strip()]
    return bool(said) and bool(_TUNING.search(said[-1]))


def tail(log: Path) -> str:
    """Return the end of a log, "" where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LAST))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
