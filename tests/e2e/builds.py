"""`build`, run as a user does, and what it said: for every test of an image."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PYTHON = "3.11"
"""Of Debian 12, which the base is made of."""

HOSTILE = "tiny $(touch /x) `id` \"'\\\nRUN touch /y ${HOME}"
STACKS = f"""\
as_released: []
written:
  - {{name: tiny, pins: {{tiny: '1.0'}}}}
  - {{name: {json.dumps(HOSTILE)}, pins: {{tiny: '1.0'}}}}
  - {{name: absent, pins: {{tiny: '9.9'}}}}
  - {{name: real, pins: {{markupsafe: 3.0.2, jinja2: 3.1.6}}}}
"""
Unbuilt = Callable[..., None]
Build = Callable[..., subprocess.CompletedProcess[str]]


def leftovers(engine: Any, kept: Path) -> list[str]:
    """Name what builds that keep their files in `kept` left besides their images: it may hold a login."""
    ours = {folder.name for folder in kept.glob("*/")}
    marked = engine.api.images(filters={"label": "nvfp4-matrix.fingerprint", "dangling": True})
    owned = engine.api.containers(all=True, filters={"label": "nvfp4-matrix.owner"})
    return [
        each["Id"]
        for each in (*marked, *owned)
        if each["Labels"].get("nvfp4-matrix.fingerprint", "")[:20] in ours
    ]


def told(done: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    assert done.returncode == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def line(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the last line of what failed, the only one that is an error."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    (error,) = [each for each in done.stderr.splitlines() if each.startswith("nvfp4-matrix: ")]
    return error


def ran(engine: Any, image: str, command: str) -> str:
    output = engine.containers.run(image, ["sh", "-c", command], remove=True, network_disabled=True)
    return str(output.decode().strip())


def until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not there():
        assert time.monotonic() < end
        time.sleep(0.1)
