"""`python -m probes.preflight`: what this interpreter and machine are, as JSON; imports nothing but the standard library."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
from typing import Final

from probes import conditions

NEEDED: Final = ("torch", "pytest")


def told() -> dict[str, object]:
    """Return versions, what is not there of what every probe needs, compilers, and the GPUs."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": conditions.packages(),
        "missing": [name for name in NEEDED if importlib.util.find_spec(name) is None],
        "compilers": [name for name in ("nvcc", "ninja") if shutil.which(name)],
        "gpu": visible(conditions.gpu()),
    }


def visible(gpus: list[dict[str, str]]) -> list[dict[str, str]]:
    """Leave out what CUDA_VISIBLE_DEVICES hides: who set it shares the machine. Parts of a GPU (MIG) are not looked for."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None or "MIG-" in wanted:
        return gpus
    found = []
    for word in wanted.split(","):
        name = word.strip()
        each = [
            gpu
            for number, gpu in enumerate(gpus)
            if name == str(number) or (name.startswith("GPU-") and gpu["uuid"].startswith(name))
        ]
        if not each:
            break  # as CUDA reads it: what stands behind one that is not there is hidden
        found += each
    return found


if __name__ == "__main__":
    print(json.dumps(told()))  # noqa: T201 - this is what it is for
