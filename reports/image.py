"""An image as text: what it is, what is in it, and what is not as it was promised."""

from __future__ import annotations

from collections.abc import Iterator

from matrix.image import AuditedPackage, ImageReport, LockReport
from reports.text import plain

_SHOWN = 12


def render(made: ImageReport) -> str:
    """Return the whole report as text."""
    return "".join(f"{_indented(line)}\n" for line in _lines(made))


def render_lock(made: LockReport) -> str:
    """Return what a lock is, in two lines."""
    where = f"{made.machine}, {made.environment}, Python {made.python}"
    told = f"{made.stack} for {where}: {len(made.pins)} packages, glibc {made.glibc} or newer"
    return f"{plain(told)}\nlock {plain(made.lock)}\n"


def _indented(line: str) -> str:
    return " " * (len(line) - len(line.lstrip(" "))) + plain(line)


def _lines(made: ImageReport) -> Iterator[str]:
    how = "built" if made.built else "was there, nothing was built"
    took = "".join(f", {seconds:.1f} s to {step}" for step, seconds in made.seconds.items())
    yield f"{made.image}  {how}: {made.size / 1e6:.0f} MB, {len(made.installed)} packages{took}"
    where = f"{made.machine}, {made.environment}, Python {made.python}"
    yield f"{made.stack} for {where}{f', {made.target}' if made.target else ''}"
    yield f"base {made.base}"
    yield f"lock {made.lock}; Dockerfile, freeze and log in {made.files}"
    if made.pushed:
        yield f"pushed {made.pushed}"
    for package in made.audited:
        yield from _audited(package, made.target)
    if made.asked:
        held = (
            "as the ledger keeps it" if made.asked.promised else "nothing kept to hold it against"
        )
        yield f"selected, asked in a container without a GPU ({held}):"
        for target, layers in made.asked.choices.items():
            if made.target in ("", target):
                yield f"  {target}: " + ", ".join(f"{k} {v or 'none'}" for k, v in layers.items())
    if not made.differences:
        yield "everything is as promised"
        return
    yield f"{len(made.differences)} differences from what was promised:"
    for each in made.differences[:_SHOWN]:
        at = f" on {each.target}" if each.target else ""
        yield f"  {each.kind}: {each.what}{at}: promised {each.promised}; found {each.found}"
    if len(made.differences) > _SHOWN:
        yield f"  and {len(made.differences) - _SHOWN} more (--json tells all)"


def _audited(package: AuditedPackage, wanted: str) -> Iterator[str]:
    against = "against the ledger" if package.promised else "no record to hold it against"
    if package.release:
        against = f"built from source; against the ledger's {package.release}"
    if {*_lamps(package)} == {"no"}:
        yield f"compiled, {package.package} {package.version}: no FP4 kernel on any target ({against})"
        return
    yield f"compiled, {package.package} {package.version} as installed ({against}):"
    for capability, lamps in package.compiled.items():
        if {*lamps.values()} == {"no"}:
            continue
        told = [f"{gpu} {lamp}" for gpu, lamp in lamps.items() if wanted in ("", gpu)]
        yield f"  {capability}: {', '.join(told)}"


def _lamps(package: AuditedPackage) -> Iterator[str]:
    for lamps in package.compiled.values():
        yield from lamps.values()
