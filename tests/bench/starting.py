"""How long it takes until the command line is there."""

from __future__ import annotations

from typing import Final

from tests.bench.figure import PROGRAM, PYTHON, Aim, Findings, Table, Times, ran, told

COMMANDS: Final = {
    "python -c pass": [PYTHON, "-c", "pass"],
    "import reports.cli": [PYTHON, "-c", "import reports.cli"],
    "import matrix.knowledge": [PYTHON, "-c", "import matrix.knowledge"],
    "nvfp4-matrix --help": [PROGRAM, "--help"],
    "nvfp4-matrix show --help": [PROGRAM, "show", "--help"],
}
BOUND: Final = 0.2


def bench(*, rounds: int) -> Findings:
    """Time importing and `--help` against a bare Python, all in turn."""
    found = Findings()
    for command in COMMANDS.values():
        ran(command)
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(2 * rounds):
        for name, command in COMMANDS.items():
            seconds[name].append(ran(command))
    times = {name: Times(tuple(each)) for name, each in seconds.items()}
    base = times["python -c pass"].median
    rows = [
        (
            name,
            told(each.median),
            each.spread,
            f"{each.median / base:.1f}",
            told(max(each.median - base, 0.0)),
        )
        for name, each in times.items()
    ]
    columns = ("command", "median", "spread", "x bare", "more than bare")
    found.tables.append(Table(f"start-up, {2 * rounds} rounds", columns, tuple(rows)))
    imported = times["import reports.cli"].median - base
    found.values["import_cli_s"] = imported
    found.values["help_s"] = times["nvfp4-matrix --help"].median
    found.aims.append(Aim("importing the command line", imported * 1e3, BOUND * 1e3, "ms"))
    return found
