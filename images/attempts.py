"""A probe run from its beginning to its end, over as many containers, commands and boots as that takes."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from images.begin import go_on, named
from images.following import Line, finished, holding
from images.inside import End, Inside
from images.owner import dead, me, owner
from matrix.errors import ConfigurationError, EngineError, OutsideError, ToolError
from matrix.journal import Journal
from matrix.model import Model
from matrix.proberun import Planned, ProbeRun, identity, settled
from matrix.result import Result
from matrix.vocabulary import Reason
from matrix.wholefile import write
from probes.lines import now
from probes.request import Request

_BARREN: Final = 3
"""Containers in a row that may run out of memory before a check comes back: then it is no check's fault."""


class Going(Model, frozen=True, kw_only=True):
    """What lies beside the results of a run that is not over: `key` says of what it is, `owner` who carries it out, "" for nobody.

    One whose owner is dead was cut off without a word: power, reboot, SIGKILL.
    """

    key: str
    owner: str


def key(request: Request, gpu: str) -> str:
    """Return one word for all that a run has to share with the one that it goes on with; the probes' hashes are in its opening."""
    place = (request.stack, request.target, request.machine, request.environment)
    told = [*place, request.image, request.question, list(request.only), gpu]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]


def unfinished(folder: Path, wanted: str) -> str | None:
    """Return the newest run of that key that is not over and that nobody carries out; None without one."""
    for file in sorted(folder.glob("*.going"), reverse=True):
        going = _read(file)
        if going is None or going.key != wanted:
            continue
        if going.owner == "" or _dead(going.owner):
            return file.stem
    return None


def resumed(request: Request, run: str, folder: Path) -> Request | None:
    """Return the rest of a run, None where it did not come as far as to open; what it was at when it was cut off is blamed once.

    Raises ConfigurationError where it cannot go on: a probe has changed since.
    """
    file = named(folder, run)
    going = _read(file.with_suffix(".going"))
    opening, _ = finished(file)
    if opening is None and going is not None:
        drop(file)
        return None
    more = go_on(request, run, folder)
    if going is not None and going.owner and _dead(going.owner):
        blame(file, "runner_lost", "the machine or the command was lost while this ran")
        more = go_on(request, run, folder)
    return more


def drop(file: Path, *, log: bool = False) -> None:
    """Forget that a run is not over; one that wrote nothing leaves nothing, but its `log` where that tells why."""
    with contextlib.suppress(OSError):
        file.with_suffix(".going").unlink(missing_ok=True)
        if file.stat().st_size == 0:
            file.unlink()
            if not log or file.with_suffix(".log").stat().st_size == 0:
                file.with_suffix(".log").unlink(missing_ok=True)


def carry_out(
    inside: Inside,
    request: Request,
    *,
    tell: Callable[[Line], None],
    beat: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Carry out a run to its end, and keep beside its results how far it is. Its log lies there, too.

    A check that takes its container along for want of memory gets an `error`, and the rest goes on in a new one. Raises
    OutsideError (EngineError, ToolError, RunLimitError) for every other end that is none, in words that say what is kept: the same
    command goes on from there.
    """
    file = Path(request.results)
    mark = file.with_suffix(".going")
    word = key(request, inside.gpu)
    with holding(file.with_suffix(".log")) as output:
        write(mark, msgspec.json.encode(Going(key=word, owner=me().word)))
        try:
            barren = 0
            while True:
                begin = len(finished(file)[1])
                end = inside.attempt(request, output, tell=tell, beat=beat)
                opening, results = finished(file)
                if opening is None:
                    drop(file, log=True)
                    raise _unopened(end, request, file.with_suffix(".log"))
                if not end.reason or not left(opening, results):
                    break
                barren = 0 if len(results) > begin else barren + 1
                if end.reason == "runner_lost":
                    raise EngineError(end.text)
                if barren >= _BARREN:
                    raise OutsideError(f"{end.text} {barren} times before a check came back")
                if lost := blame(file, end.reason, end.text):
                    tell(lost)
                if end.reason != "oom":
                    raise OutsideError(end.text)
                say(f"{end.text}; the rest goes on in a new one")
                request = go_on(request, request.run, file.parent)
        except OutsideError as error:
            raise _with_count(error, file) from error
        finally:
            if mark.exists():
                with contextlib.suppress(OutsideError):
                    write(mark, msgspec.json.encode(Going(key=word, owner="")))
        mark.unlink(missing_ok=True)


def left(opening: ProbeRun, results: tuple[Result, ...]) -> tuple[Planned, ...]:
    """Return what a run has still to do, in its order: the first was being done when it was cut off."""
    done = settled(result for result in results if result.run == opening.run)
    return tuple(each for each in opening.planned if identity(each) not in done)


def blame(file: Path, reason: Reason, text: str) -> Result | None:
    """Write an `error` for the check that a run was at when it was cut off, and return it; None where it was at none."""
    opening, results = finished(file)
    rest = left(opening, results) if opening else ()
    if opening is None or not rest:
        return None
    lost = Result(
        stack=opening.stack,
        target=opening.target,
        machine=opening.machine,
        environment=opening.environment,
        capability=rest[0].capability,
        probe=rest[0].probe,
        backend=rest[0].backend,
        load=rest[0].load,
        status="error",
        reason=reason,
        when=now(),
        run=opening.run,
        text=text,
    )
    Journal(file.parent).append([lost])
    return lost


def _unopened(end: End, request: Request, log: Path) -> OutsideError | ConfigurationError:
    """Word the end of a run that did not come as far as to say what it plans."""
    if end.code == 5:  # noqa: PLR2004 - pytest's, where there was nothing to run
        asked = " ".join(f"--only {name}" for name in request.only)
        return ConfigurationError(f"{asked}: {request.subject} has no probe of such a name")
    if end.reason == "oom":
        return ToolError("the container ran out of memory before its first check: see to --memory")
    said = end.text or f"the suite ended with exit code {end.code}"
    more = f"{log} tells more" if log.exists() else "it printed nothing"
    return ToolError(f"{said} before its first check ({more})")


def _with_count(error: OutsideError, file: Path) -> OutsideError:
    opening, results = finished(file)
    if opening is None:  # no container could be made of it, say
        drop(file, log=True)
        return error
    done = len(opening.planned) - len(left(opening, results))
    kept = (
        f"{done} of {len(opening.planned)} checks are kept; the same command goes on with the rest"
    )
    return type(error)(f"{file.stem}: {error}; {kept}")


def _read(file: Path) -> Going | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Going)
    except (OSError, msgspec.DecodeError):
        return None


def _dead(word: str) -> bool:
    whose = owner(word)
    return whose is not None and dead(whose, running=False)
