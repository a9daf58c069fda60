"""Self-hosted runners, as GitHub lists them: which jobs have one that could take them, and since when there is none. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from matrix.errors import ConfigurationError
from matrix.plan import Job, labels
from matrix.result import Result
from matrix.vocabulary import Reason

OFFLINE: Final[Reason] = "runner_offline"


class Label(msgspec.Struct, frozen=True):
    """A label of a runner; GitHub's other fields do not matter here."""

    name: str


class Runner(msgspec.Struct, frozen=True):
    """One runner of `GET /repos/{owner}/{repo}/actions/runners`. `status` is GitHub's: `online`, `offline`."""

    name: str
    status: str
    labels: tuple[Label, ...] = ()

    def takes(self, asked: Collection[str]) -> bool:
        """Say whether it carries every label that a job asks for; GitHub does not tell cases apart."""
        mine = {label.name.casefold() for label in self.labels}
        return all(label.casefold() in mine for label in asked)


class _Page(msgspec.Struct, frozen=True):
    runners: tuple[Runner, ...]


class Attendance(NamedTuple):
    """The jobs of a plan by whether there is a runner for them.

    `online`: how many runners are there for a target and machine. `absent`: for those without any, why.
    """

    present: tuple[Job, ...]
    away: tuple[Job, ...]
    online: dict[tuple[str, str], int]
    absent: dict[tuple[str, str], str]


def read(content: bytes, name: str) -> tuple[Runner, ...] | None:
    """Read what GitHub answers: one page, or a list of pages; None for `null`, which says that nobody could ask.

    Raises ConfigurationError where it is none of them.
    """
    try:
        pages = msgspec.json.decode(content, type=_Page | tuple[_Page, ...] | None)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigurationError(
            f"{name}: is no list of runners as GitHub gives it ({error})"
        ) from error
    if pages is None:
        return None
    return tuple(
        runner
        for page in (pages if isinstance(pages, tuple) else (pages,))
        for runner in page.runners
    )


def attendance(
    jobs: Iterable[Job], runners: Sequence[Runner], *, elastic: Collection[str] = ()
) -> Attendance:
    """Tell jobs that a runner could take from those that would only wait: GitHub cancels them after a day.

    A runner that is busy is there. Runners of the targets `elastic` are started when a job comes, as Actions Runner
    Controller does: that none is there now says nothing.
    """
    present: list[Job] = []
    away: list[Job] = []
    online: dict[tuple[str, str], int] = {}
    absent: dict[tuple[str, str], str] = {}
    for job in jobs:
        kind = (job.target, job.machine)
        if kind not in online and kind not in absent:
            fitting = [runner for runner in runners if runner.takes(labels(job))]
            here = sum(runner.status == "online" for runner in fitting)
            if here or job.target in elastic:
                online[kind] = here
            else:
                absent[kind] = "runner offline" if fitting else "no runner registered"
        (present if kind in online else away).append(job)
    return Attendance(tuple(present), tuple(away), online, absent)


def since(target: str, machine: str, results: Iterable[Result], now: str) -> str:
    """Return when the runners of a target were first found to be away, with nothing come back from there since.

    `now` where that is the first time. GitHub does not tell when a runner was last there, results do.
    """
    here = [r for r in results if (r.target, r.machine) == (target, machine)]
    heard = max((r.when for r in here if r.status != "missing" and not r.source), default="")
    return min((r.when for r in here if r.reason == OFFLINE and r.when > heard), default=now)
