"""`@check`: mark a test function as a probe of an operation, with the loads that it sweeps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from probes.case import Case, Value
from probes.finding import Finding
from probes.request import Request
from probes.subject import Charged, Offers

Load = Mapping[str, Value]
Loads = Callable[[Request], Iterable[Load]]
Probe = Callable[[Charged, Case, Request], Finding]

_F = TypeVar("_F", bound=Callable[..., Finding])
_MARK: Final = "nvfp4_check"
_HERE: Final = Path(__file__).parent
_NOT_SHARED: Final = frozenset({"faults", "selection", "suite"})
"""Folders whose code is not every probe's: a probe's own file is hashed beside what is shared."""


@dataclass(frozen=True)
class Check:
    """What `@check` wrote down: each operation, and its loads for a request."""

    planned: tuple[tuple[str, Loads], ...]


def check(operation: str, loads: Loads) -> Callable[[_F], _F]:
    """Mark a function `test_<name>(subject, case, request)` of `probes/suite` as a probe.

    It becomes a case for each backend that the subject offers for `operation`, and each load.
    """
    return each({operation: loads})


def each(planned: Mapping[str, Loads]) -> Callable[[_F], _F]:
    """Mark a function as a probe of several operations, each with its loads."""

    def mark(function: _F) -> _F:
        setattr(function, _MARK, Check(tuple(planned.items())))
        return function

    return mark


def checked(function: Any) -> Check | None:
    """Return what `@check` wrote on a function, None for another."""
    found = getattr(function, _MARK, None)
    return found if isinstance(found, Check) else None


def cases(name: str, found: Check, offers: Offers, request: Request) -> list[Case]:
    """Return the cases of the probe `name`, in order; none where the subject lacks the operation.

    A load may name its `backend`, for one alone. The probe of several operations is named for each of them, too.
    """
    made = []
    several = len(found.planned) > 1
    for operation, loads in found.planned:
        for backend in offers.get(operation, ()):
            for load in loads(request):
                if load.get("backend", backend) == backend:
                    told = {key: value for key, value in load.items() if key != "backend"}
                    probe = f"{name}.{operation}" if several else name
                    made.append(Case(probe, operation, backend, told))
    return [case for case in made if not request.only or case.probe.startswith(tuple(request.only))]


@cache
def digest(suite_file: str) -> str:
    """Hash a probe's code: the file it stands in, and all that every probe shares. A changed check is another one."""
    shared = sorted(
        file for file in _HERE.rglob("*.py") if file.relative_to(_HERE).parts[0] not in _NOT_SHARED
    )
    content = hashlib.sha256()
    for file in (*shared, Path(suite_file)):
        content.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return content.hexdigest()
