"""The page of the documentation that tells of a campaign: docs/faults.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from probes.faults.campaign import Outcome
from probes.faults.catalogue import FAULTS
from probes.faults.fault import CLASSES

_HEAD: Final = """# Planted faults

What the probes are worth is shown by what they find. Each fault below is planted in the CPU reference, one at a time, and the suite is
run on it as it runs on a package: `python -m probes`, one process a case. A fault counts as caught where one of its probes gives
its reason, none of its other results blames anything that the fault does not explain, and every other result stays green. No GPU is
in this: it shows what the probes see, not how a GPU fails.

    nox -s faults                          # everything
    nox -s faults -- --only swapped-nibbles --seeds 0
    nox -s faults -- --list

This page is written by `nox -s faults -- --write docs/faults.md`.
"""


def written(
    outcomes: Sequence[Outcome],
    *,
    seeds: int,
    alarms: int,
    seconds: float,
    spent: float,
    cores: int,
) -> str:
    """Return the page for these outcomes; what was not run is listed as not caught."""
    by_name = {each.fault.name: each for each in outcomes}
    caught = sum(each.caught for each in outcomes)
    lines = [
        _HEAD,
        (
            f"Last run: {caught} of {len(outcomes)} caught, {alarms} false alarms over {seeds} clean runs with another "
            f"seed each, {seconds:.0f} s with {cores} side by side, {spent:.0f} s of processors.\n"
        ),
        "## Fault by fault\n",
        "| fault | what is wrong | class | operation | reason | found by |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for fault in FAULTS.values():
        outcome = by_name.get(fault.name)
        found = ", ".join(f"`{name}`" for name in outcome.found) if outcome else ""
        if outcome is None or not outcome.caught:
            found = f"**not caught** {found}".strip()
        letters = ", ".join(fault.letters)
        lines.append(
            f"| `{fault.name}` | {fault.text} | {letters} | {fault.operation} | `{fault.reason}` | {found} |"
        )
    lines += ["\n## Class by class\n", "| class | what | faults |", "| --- | --- | --- |"]
    for letter, what in CLASSES.items():
        names = [f"`{fault.name}`" for fault in FAULTS.values() if letter in fault.letters]
        lines.append(f"| {letter} | {what} | {', '.join(names)} |")
    return "\n".join(lines) + "\n"
