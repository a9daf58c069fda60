"""NVIDIA's cuobjdump and nvdisasm: where they are, which versions, and running them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from shutil import which
from subprocess import PIPE, Popen, TimeoutExpired
from tempfile import TemporaryFile
from typing import IO

from matrix.errors import ToolError

_TOOLS = {"cuobjdump": "nvidia-cuda-cuobjdump", "nvdisasm": "nvidia-cuda-nvdisasm"}
_CONTROL = re.compile(r"[^\x20-\x7e]+")


class RefusedError(Exception):
    """A tool of NVIDIA's could not read its input; the message is its own first line."""


@cache
def tool(name: str) -> str:
    """Path of `cuobjdump` or `nvdisasm`: from its PyPI distribution, else from PATH.

    Raises ToolError when it is in neither.
    """
    distribution = _TOOLS[name]
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == name:
            return str(file.locate())
    if found := which(name):
        return found
    raise ToolError(f"{name} is not installed; try: pip install {distribution}")


def tool_versions() -> dict[str, str]:
    """Versions of the tools' distributions, for the record ("" where the tool comes from PATH)."""
    versions = {}
    for name, distribution in _TOOLS.items():
        try:
            versions[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            versions[name] = ""
    return versions


@contextmanager
def running(command: Sequence[str], *, folder: Path | None = None) -> Iterator[IO[str]]:
    """Run a tool and hand over its output as it comes; nothing is left running afterwards.

    Raises RefusedError when the tool ends with an error.
    """
    with TemporaryFile("w+", errors="replace") as complaint:
        process = Popen(  # noqa: S603 - our own tool, no shell
            command, stdout=PIPE, stderr=complaint, cwd=folder, text=True, errors="replace"
        )
        try:
            if process.stdout is None:
                raise ToolError(f"{command[0]} gave no output")
            yield process.stdout
            process.stdout.read()
            code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=5)
                except TimeoutExpired:
                    process.kill()
                    process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if code:
            complaint.seek(0)
            said = _CONTROL.sub(" ", complaint.readline(2_000)).strip()
            if code < 0:  # killed: what it said until then is no reason
                said = ""
            raise RefusedError(said or f"{Path(command[0]).name} ended with code {code}")
