"""What a run in a container takes beyond its probes, where the image is there."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Final

from images.engine import Engine, Image
from images.there import found
from matrix.errors import ConfigurationError, EngineError
from tests.bench.figure import PYTHON, Aim, BenchError, Findings, Table, Times, ran, told

COMMAND: Final = [PYTHON, "-c", "from reports.cli import main; main()", "probe", "--self-test"]
ONLY: Final = "correctness.gemm"
BOUND: Final = 5.0


def bench(*, rounds: int) -> Findings:
    """Probe the reference in an image that is here, and take from the whole what its checks took."""
    try:
        image = _image()
    except BenchError as error:
        return Findings(notes=[f"run: left out, {error}"])
    whole: list[float] = []
    checks: list[float] = []
    beyond: list[float] = []
    for _ in range(rounds):
        seconds, spent = _run(image)
        whole.append(seconds)
        checks.append(spent)
        beyond.append(seconds - spent)
    rows = [
        (name, told(Times(tuple(each)).median), Times(tuple(each)).spread)
        for name, each in (
            ("the command", whole),
            ("its checks", checks),
            ("what is beyond them", beyond),
        )
    ]
    stack = image.labels.get("nvfp4-matrix.stack", "")
    title = f"a run in a container, {rounds} rounds, {stack}, {image.size / 1e6:.0f} MB"
    made = Findings(tables=[Table(title, ("", "median", "spread"), tuple(rows))])
    figure = Times(tuple(beyond)).median
    made.values["run_overhead_s"] = figure
    made.aims.append(Aim("a run, beyond its probes", figure, BOUND, "s"))
    return made


def _image() -> Image:
    """Return the newest image of ours in which that runs, which warms the disk's cache; raise BenchError for none."""
    try:
        with Engine.connect() as engine:
            for each in engine.stacks():
                with contextlib.suppress(ConfigurationError, BenchError):  # none with a real torch
                    _run(found(engine, each.id))
                    return each
    except EngineError as error:
        raise BenchError(str(error)) from error
    raise BenchError("no image of a stack with torch is here: `nvfp4-matrix build` makes one")


def _run(image: Image) -> tuple[float, float]:
    """Run it once; return the seconds of the command, and those of its checks."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*COMMAND, "--image", image.id, "--only", ONLY, "--results", folder]
        seconds = ran(command)
        return seconds, _spent(Path(folder))


def _spent(folder: Path) -> float:
    """Return the seconds that the checks of the only run took, each with its process."""
    (file,) = folder.glob("*.jsonl")
    _, *results = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return sum(float(each["durations"]["probe"]) for each in results)
