"""How long `show` takes over the whole ledger, start-up included."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.bench.figure import PROGRAM, PYTHON, Aim, Findings, Table, Times, ran, told

FORMS: Final = ("text", "json", "html", "markdown")
MEASURED: Final = ("text", "json", "html")
"""The forms that the aim is about; Markdown is told beside them."""
BOUND: Final = 1.0


def bench(*, rounds: int) -> Findings:
    """Time every form in turn, `rounds` times, against a bare Python in the same rounds."""
    with TemporaryDirectory() as folder:
        return _bench(Path(folder), rounds)


def _bench(folder: Path, rounds: int) -> Findings:
    found = Findings()
    cold = {}
    for form in FORMS:
        environment = {"PYTHONPYCACHEPREFIX": str(folder / f"pyc-{form}")}
        cold[form] = ran(_command(form, folder), environment=environment)
    for form in FORMS:
        ran(_command(form, folder))  # compiled and in the page cache from here on
    bare: list[float] = []
    times: dict[str, list[float]] = {form: [] for form in FORMS}
    for _ in range(rounds):
        bare.append(ran([PYTHON, "-c", "pass"]))
        for form in FORMS:
            times[form].append(ran(_command(form, folder)))
    base = Times(tuple(bare))
    rows = [("python -c pass", told(base.median), base.spread, "1.0", "", "")]
    for form in FORMS:
        measured = Times(tuple(times[form]))
        size = (folder / f"out.{form}").stat().st_size
        rows.append(
            (
                f"show, {form}",
                told(measured.median),
                measured.spread,
                f"{measured.median / base.median:.1f}",
                told(cold[form]),
                f"{size / 1e6:.2f} MB",
            )
        )
        found.values[f"show_{form}_s"] = measured.median
        if form in MEASURED:
            found.aims.append(Aim(f"show, {form}, whole ledger", measured.median, BOUND, "s"))
    columns = ("command", "median", "spread", "x bare", "without .pyc", "output")
    found.tables.append(
        Table(f"show --all over the whole ledger, {rounds} rounds", columns, tuple(rows))
    )
    found.notes.append(
        "“without .pyc” is one run that compiles every module, the standard library's too."
    )
    return found


def _command(form: str, folder: Path) -> list[str]:
    return [PROGRAM, "show", "--all", "--format", form, "--output", str(folder / f"out.{form}")]
