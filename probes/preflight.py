"""`python -m probes.preflight`: what this interpreter and machine are, as JSON; imports nothing but the standard library."""

from __future__ import annotations

import importlib.util
import json
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
        "gpu": conditions.gpu(),
    }


if __name__ == "__main__":
    print(json.dumps(told()))  # noqa: T201 - this is what it is for
