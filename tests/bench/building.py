"""How long `build` takes for a stack whose image is there already: it looks, and does nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import docker
import docker.errors

from tests.bench.figure import PROGRAM, PYTHON, Aim, BenchError, Findings, Table, Times, ran, told

BASE: Final = "nvfp4-matrix-tests:base"
"""What `nox -s images` leaves in an engine; NVFP4_MATRIX_BASE is taken before it."""
BASES_PYTHON: Final = "3.11"
STACKS: Final = """\
as_released: []
written:
  - {name: bench, pins: {markupsafe: 3.0.2}}
"""
BOUND: Final = 1.0


def bench(*, rounds: int) -> Findings:
    """Time the second and every further build against a bare Python and `--version`, all in turn."""
    try:
        client = docker.from_env()
    except docker.errors.DockerException:
        return _left_out("no Docker engine answers (.ci/engine COMMAND starts one)")
    try:
        base = os.environ.get("NVFP4_MATRIX_BASE", "")
        python: tuple[str, ...] = ()
        if not base:
            try:
                base, python = client.images.get(BASE).id, ("--python", BASES_PYTHON)
            except docker.errors.ImageNotFound:
                return _left_out("set NVFP4_MATRIX_BASE, or let `nox -s images` make a base")
        with TemporaryDirectory() as folder:
            return _bench(Path(folder), [*python, "--base", base], rounds, client)
    finally:
        client.close()


def _left_out(why: str) -> Findings:
    return Findings(notes=[f"build: left out, {why}"])


def _bench(folder: Path, where: list[str], rounds: int, client: docker.DockerClient) -> Findings:
    (folder / "stacks.yaml").write_text(STACKS)
    build = [PROGRAM, "build", "bench", *where, "--stacks", str(folder / "stacks.yaml")]
    build += ["--kept", str(folder / "kept")]
    there = {tag for each in client.api.images() for tag in each["RepoTags"] or ()}
    made = subprocess.run(build, capture_output=True, text=True, check=False)
    if made.returncode:
        raise BenchError(f"no image to measure with: {made.stderr.strip().splitlines()[-1]}")
    image = made.stdout.split(maxsplit=1)[0]
    commands = {
        "python -c pass": [PYTHON, "-c", "pass"],
        "nvfp4-matrix --version": [PROGRAM, "--version"],
        "a second build": build,
    }
    try:
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                seconds[name].append(ran(command))
    finally:
        if image not in there:
            client.images.remove(image, force=True)
    times = {name: Times(tuple(each)) for name, each in seconds.items()}
    start = times["nvfp4-matrix --version"].median
    rows = [
        (name, told(each.median), each.spread, f"{each.median / start:.1f}")
        for name, each in times.items()
    ]
    second = times["a second build"].median
    found = Findings(values={"second_build_s": second, "second_build_over_start": second / start})
    columns = ("command", "median", "spread", "x --version")
    found.tables.append(Table(f"an image that is there, {rounds} rounds", columns, tuple(rows)))
    found.aims.append(Aim("a second build of an unchanged stack", second, BOUND, "s"))
    return found
