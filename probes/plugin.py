"""The pytest plugin: plan cases from `@check`, run each in a process of its own, write its line before the next."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from probes import conditions, lines, watch
from probes.apart import apart
from probes.case import Case
from probes.check import cases, checked, digest
from probes.endurance.watchdog import compiles_here
from probes.finding import Finding, refused
from probes.importing import imported
from probes.outcome import answer, beside, concluded, told
from probes.request import Request
from probes.skipping import Planned, skip
from probes.subject import Charged, ChargedError, NotOfferedError

_ASIDE: Final = ("correctness_scale.", "correctness_weight.")
"""Probes that settle no cell, whatever they find or die of: no stack hands on a bad scale, and a weight-only product is no native one."""

_FOUND: Final = pytest.StashKey[Finding]()
_SUFFIX: Final = "test_"


class Probes:
    """One run: `request` says of what, and `home` where its own folder may be; `adapter` is the module of the subject.

    A module whose package has other words for its choice than for its backends has a function `backend_of`.
    """

    def __init__(self, request: Request, home: Path | None = None) -> None:
        self.request = request
        self.adapter = importlib.import_module(f"probes.subjects.{request.subject}")
        self.folder = Path(tempfile.mkdtemp(prefix="nvfp4-probes-", dir=home))
        self.broken: Finding | None = None
        self._planned: list[Planned] = []
        self._skipped: list[dict[str, Any]] = []
        self._chosen: dict[str, str] = {}

    @staticmethod
    def pytest_configure(config: pytest.Config) -> None:
        """Make the marks of probes known, which no configuration file does here."""
        config.addinivalue_line("markers", "limit(seconds): what a probe may take")
        config.addinivalue_line("markers", "unmade: a probe that makes the subject itself")

    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of every case of a probe."""
        if found := checked(metafunc.function):
            name = f"{metafunc.module.__name__.split('.')[-1]}.{metafunc.function.__name__}"
            name = name.replace(_SUFFIX, "")
            made = cases(name, found, self.adapter.OFFERS, self.request)
            metafunc.parametrize("case", made, ids=[case.name for case in made])

    @pytest.fixture
    def subject(self) -> None:
        """Stand for the subject, which is made in the process of the probe."""

    @pytest.fixture
    def run(self) -> Request:
        """Give a probe what the run is asked to do."""
        return self.request

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what an earlier attempt has finished, or did not plan."""
        # A probe of what the subject lacks, or that the request leaves out, has one item without a case.
        items[:] = [item for item in items if isinstance(_planned(item)[0], Case)]
        self._planned = [_planned(item) for item in items]
        if self.request.rest is not None:
            rest = frozenset(self.request.rest)
            items[:] = [item for item in items if _planned(item)[0].identity in rest]
            return
        self._planned, self._skipped = skip(self._planned, self.request)
        left = {case.identity for case, _ in self._planned}
        items[:] = [item for item in items if _planned(item)[0].identity in left]

    def pytest_runtestloop(self) -> None:
        """See in a child whether the package can be imported, then open the run: what is planned, and where."""
        if not self._planned:
            if self._skipped:  # nothing is left to do, and that is told
                self._open(conditions.here(self.request))
            return
        found = imported(self.adapter, self.request, self.folder)
        self.broken = found.broken
        if self.request.rest is None:
            self._open({**conditions.here(self.request), "libraries": found.libraries})
        if self.broken is None:
            if not found.starts_cuda:
                self.adapter.load()  # as a child did before; else each child does it for itself
            watch.warm(torch.device(self.request.device))

    def pytest_unconfigure(self) -> None:
        """Leave no folder behind."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def pytest_runtest_protocol(self, item: pytest.Item) -> bool:
        """Run one case apart, and write its line."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        case, sha256 = _planned(item)
        if self.broken is not None:
            found, seconds = self.broken, 0.0
        else:
            ending = apart(
                lambda: _in_child(item),
                self.folder,
                limit=_limit(item, self.request),
                memory=self.request.memory,
                excused=compiles_here,
            )
            found, seconds = self._marked(concluded(ending), case), ending.seconds
        line = lines.result(self.request, case, sha256, found)
        line["durations"] = {"probe": round(seconds, 3), **line["durations"]}
        self._write(line)
        item.ihook.pytest_runtest_logreport(report=_report(item, found, seconds))
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Call a probe, and keep what it returns; what the package did wrong is a finding, too."""
        if checked(pyfuncitem.function) is None:
            return None
        pyfuncitem.stash[_FOUND] = found = self._call(pyfuncitem)
        if found.status not in ("pass", "skip"):
            pytest.fail(f"{found.status} ({found.reason}): {found.text}", pytrace=False)
        if found.status == "skip":
            pytest.skip(found.text)
        return True

    def _call(self, item: pytest.Function) -> Finding:
        case, _ = _planned(item)
        if item.get_closest_marker("unmade"):
            return self._told(item, self._made)
        try:
            subject = self._made()
        except NotOfferedError as error:
            return Finding(status="skip", reason="not_offered", text=str(error))
        except ChargedError as error:
            return refused(error.reason, str(error))
        # Asked once a run: a package may import for many seconds before it answers, or ask the network.
        told = self._told(item, subject)
        told = replace(told, selected=told.selected or self._chosen.get(case.operation, ""))
        return beside(told, subject, case)

    @staticmethod
    def _told(item: pytest.Function, subject: Charged | Callable[[], Charged]) -> Finding:
        """Call the probe; one that is marked `unmade` makes the subject itself, in processes of its own."""
        names = item._fixtureinfo.argnames  # noqa: SLF001 - as pytest's own call does
        given = {name: item.funcargs[name] for name in names} | {"subject": subject}
        return told(lambda: item.obj(**given))

    def _made(self) -> Charged:
        try:
            return Charged(self.adapter.make(torch.device(self.request.device)))
        except NotOfferedError:
            raise
        except Exception as error:
            raise ChargedError("make", error) from error

    def _marked(self, found: Finding, case: Case) -> Finding:
        """Mark a finding of a backend that the package does not choose by itself: it says nothing of the stack.

        What is chosen, a probe that died could not ask; another one of the operation has.
        """
        chosen = found.selected or self._chosen.get(case.operation, "")
        self._chosen[case.operation] = chosen
        named: Callable[..., str] | None = getattr(self.adapter, "backend_of", None)
        of = named(case.operation, chosen, target=self.request.target) if named else chosen
        settles = of == case.backend and not case.probe.startswith(_ASIDE)
        if settles or "one-kernel" in found.marks:
            return found
        return replace(found, marks=(*found.marks, "one-kernel"))

    def _open(self, here: dict[str, Any]) -> None:
        self._write(lines.opening(self.request, self._planned, here, skipped=self._skipped))

    def _write(self, line: dict[str, Any]) -> None:
        try:
            lines.append(self.request.results, line, create="record" in line)
        except OSError as error:
            raise pytest.exit.Exception(
                f"{self.request.results}: {error.strerror}; what was measured before is kept",
                lines.DISK,
            ) from error


def _planned(item: pytest.Item) -> tuple[Case, str]:
    call: Any = item
    return call.callspec.params["case"], digest(str(item.path))


def _limit(item: pytest.Item, request: Request) -> float:
    """Return a probe's own limit in seconds (`@pytest.mark.limit(600)`), else the request's."""
    mark = item.get_closest_marker("limit")
    return float(mark.args[0]) if mark else request.limit


def _in_child(item: pytest.Item) -> Any:
    """Run one item by pytest's own protocol, fixtures included; return its finding as a dictionary."""
    from _pytest.runner import runtestprotocol  # noqa: PLC0415 - as pytest-forked does; no public name

    reports: Sequence[pytest.TestReport] = runtestprotocol(item, log=False)
    found = item.stash.get(_FOUND, None)
    if found is None:
        said = next((str(report.longrepr) for report in reports if report.failed), "no finding")
        found = Finding(status="error", reason="harness_error", text=said[-400:])
    return answer(found)


def _report(item: pytest.Item, found: Finding, seconds: float) -> pytest.TestReport:
    """Make pytest's report of a finding."""
    outcome: Any = {"pass": "passed", "skip": "skipped"}.get(found.status, "failed")
    said: Any = f"{found.status} ({found.reason}): {found.text}"
    if found.status == "skip":
        said = (str(item.path), 0, found.text)
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome=outcome,
        longrepr=None if found.status == "pass" else said,
        when="call",
        duration=seconds,
    )
