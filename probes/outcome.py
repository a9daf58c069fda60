"""What comes of a probe: what it found, what it raised instead, and how its process ended where it said nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from probes.apart import DEFECT, Ending
from probes.case import Case
from probes.finding import Finding, refused
from probes.reason import of_death, of_device, of_text, words
from probes.subject import Charged, ChargedError, NotOfferedError


def concluded(ending: Ending, what: str = "the probe") -> Finding:
    """Say what the ending of a process means where it gave no finding of its own."""
    if ending.answer is not None:
        found = Finding(**ending.answer)
        told = of_device(ending.printed) if found.status == "fail" else ""
        return replace(found, reason=told or found.reason)
    last = ending.printed.strip().splitlines()[-1:] or [""]
    said = f"; last line: {last[0]}" if last[0] else ""
    if ending.flooded:
        return refused("failed", f"{what} printed more than a log holds, and was ended{said}")
    if ending.late:
        stuck = " and could not be ended" if ending.stuck else " and was ended"
        return refused("hang", f"{what} had no answer after {ending.seconds:.0f} s{stuck}{said}")
    if ending.signal:
        reason = of_death(ending.signal, ending.printed, out_of_memory=ending.out_of_memory)
        return refused(reason, f"{what} was ended by signal {ending.signal}{said}")
    reason = of_text(ending.printed)
    if ending.code == DEFECT:
        # Our own end of the process, where an answer could not be given: for want of memory, or by a defect of ours.
        reason = "oom" if reason == "oom" or "MemoryError" in ending.printed else "harness_error"
    return refused(reason, f"{what} left with exit code {ending.code} and no answer{said}")


def beside(found: Finding, subject: Charged, case: Case) -> Finding:
    """Put beside a finding what the package says of the backend, and which one it would choose."""
    advertised, selected = found.advertised, found.selected
    with contextlib.suppress(ChargedError, NotOfferedError):
        selected = selected or subject.selected(case.operation)
        advertised = advertised or subject.advertised(case.operation, case.backend)
    return replace(found, advertised=advertised, selected=selected)


def told(work: Callable[[], Finding]) -> Finding:
    """Return what a probe found; what it raised instead is a finding, too."""
    try:
        return work()
    except NotOfferedError as error:
        return Finding(status="skip", reason="not_offered", text=str(error))
    except ChargedError as error:
        return refused(error.reason, str(error))
    except Exception as error:  # noqa: BLE001 - a defect of the probe is a result, and never the product's fault
        return Finding(status="error", reason="harness_error", text=words(error))


def answer(found: Finding) -> dict[str, Any]:
    """Return a finding as `apart` carries it; `concluded` reads it."""
    return found.__dict__ | {"metrics": dict(found.metrics), "digests": dict(found.digests)}
