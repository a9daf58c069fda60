"""A build that failed, in one line: the step, what it said last, what to do, and where the log is. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matrix.errors import EngineError

_LAST: Final = 3
"""Lines of a step that are told."""

_CUT: Final = 220

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
"""The engine colours what a step writes to stderr."""

_ADVICE: Final = (
    (("CERTIFICATE_VERIFY_FAILED", "certificate verify failed"), "give the network's own certificates with --ca-bundle"),
    (("do not match the hashes", "DO NOT MATCH THE HASHES"), "the index has other files than when it was locked: --relock"),
    (("No space left on device",), "make room on the engine's disk (docker system df)"),
    (("is not a supported wheel", "not supported on this platform"), "the base's glibc or Python is older than the lock's: take a newer --base, or --relock"),
    (("Unable to locate package", "apt-get: not found"), "the base has no such Python and cannot install it: take another --base or --python"),
    (("No matching distribution", "Could not find a version"), "the index that the build reaches has no such wheel: see to --index, or --relock"),
    (("Temporary failure in name resolution", "Connection refused", "Network is unreachable", "ConnectTimeout"), "the build cannot reach the index: see to --index, and to HTTPS_PROXY"),
    (("nvcc: not found", "nvcc: command not found", "c++: not found"), "`devel` needs a base with nvcc and a C++ compiler"),
    (("grep --fixed-strings 'release",), "the base's nvcc is of another CUDA than the stack: take a base with that one"),
)  # fmt: skip


_KILLED: Final = 137
_COMPLAINT: Final = re.compile(
    r"(?:^|\s)(?:[\w./-]+:\d+:(?:\d+:)?|[\w./-]+\(\d+\):|ptxas|nvcc) ?(?:fatal|error|fatal error)\b|CMake Error|^FAILED: "
)
"""What gcc, nvcc, ptxas, CMake and ninja begin a complaint with; what follows it in a log is of other files."""

_OUT_OF_MEMORY: Final = (
    "Killed signal terminated program",
    "cc1plus: out of memory",
    "virtual memory exhausted",
)


class Transcript:
    """What a build prints: which step it is at, and the last words of it."""

    def __init__(self) -> None:
        self.step = ""
        self.words: list[str] = []

    def hear(self, text: str) -> None:
        """Take what came; a step is opened by "Step 3/9 : RUN …"."""
        for line in text.splitlines():
            if line.startswith("Step ") and " : " in line:
                self.step, self.words = line.strip(), []
            elif words := _COLOURS.sub("", line).strip():
                self.words.append(words)
                del self.words[:-50]


def failed(stack: str, heard: Transcript, error: str, log: Path | None) -> EngineError:
    """Word a failed build of an image."""
    step = heard.step.partition(" : ")[2] or "its first step"
    last = " / ".join(_telling(heard.words, error))
    return EngineError(
        f"{stack}: the build failed at {_cut(step, 60)!r}: {_cut(last, _CUT)}; "
        f"{advice((*heard.words, error))}" + (f"; the whole log: {log}" if log else "")
    )


def unbuilt(package: str, words: Sequence[str], code: int, jobs: int, log: Path) -> EngineError:
    """Word a failed build of a wheel. Code 137 is a kill, which is the memory's end unless somebody did it."""
    compilers = [line for line in words if _COMPLAINT.search(line)]
    last = " / ".join(compilers[:_LAST] or _telling(words, f"it ended with {code}"))
    killed = code == _KILLED or any(sign in line for line in words for sign in _OUT_OF_MEMORY)
    told = (
        f"its machine ran out of memory with {jobs} jobs: --jobs {max(1, jobs // 2)}"
        if killed
        else advice(words)
    )
    return EngineError(
        f"{package}: its source cannot be built: {_cut(last, _CUT)}; {told}; what was compiled is kept for the next "
        f"try; the whole log: {log}"
    )


def advice(words: Sequence[str]) -> str:
    """Say what a user can do."""
    said = "\n".join(words)
    for signs, told in _ADVICE:
        if any(sign in said for sign in signs):
            return told
    return "see to that and build again: nothing of it was kept"


def _telling(words: Sequence[str], error: str) -> Sequence[str]:
    """Pick the last lines, those that call themselves errors first, and the engine's own where a step said nothing."""
    plain = [line for line in words if not line.startswith(("--->", "Removing intermediate"))]
    errors = [line for line in plain if "error" in line.lower()]
    return (errors or plain)[-_LAST:] or [error.strip()]


def _cut(text: str, longest: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
