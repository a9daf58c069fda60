from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec
import pytest

from matrix import measurement
from matrix.capability import CapabilitiesFile
from matrix.errors import BrokenWheelError, DeliveryError, OutsideError, ToolError
from matrix.evidence.record import ObjectEvidence, WheelEvidence
from matrix.evidence.transport import Connection, Session
from matrix.evidence.wheelfile import WheelFile
from matrix.gate import GatesFile
from matrix.measurement import Outcome, Progress, StoppedError, Watch, measure, measured
from matrix.origin import from_path, from_url

if TYPE_CHECKING:
    from tests.conftest import MakeWheel, Shelf

NOTHING = CapabilitiesFile(capabilities=(), instructions=(), packages=(), pieces=())
GATES = GatesFile(gates=())


@pytest.fixture
def session() -> Session:
    return Session(Connection(timeout=5, retries=0, backoff=0))


def evidence(file: WheelFile, *objects: ObjectEvidence) -> WheelEvidence:
    return WheelEvidence(
        package=file.package,
        version=file.version,
        machine=file.machine,
        filename=file.filename,
        sha256="0" * 64,
        bytes_total=1,
        bytes_fetched=1,
        measured="2026-11-21",
        objects=objects,
    )


def file(version: str = "1.0") -> WheelFile:
    return from_url(f"https://index.example/pkg-{version}-py3-none-any.whl")


def test_the_hash_of_a_local_wheel_is_its_own_and_of_a_served_one_the_index_s(
    make_wheel: MakeWheel, shelf: Shelf, session: Session
) -> None:
    path = make_wheel("pkg", "1.0")
    own = hashlib.sha256(path.read_bytes()).hexdigest()
    url = shelf.add(path)
    assert measure(session, NOTHING, GATES, from_path(path), Watch()).sha256 == own
    assert measure(session, NOTHING, GATES, from_url(url), Watch()).sha256 == ""
    stated = from_url(f"{url}#sha256={own}")
    assert measure(session, NOTHING, GATES, stated, Watch()).sha256 == own


def test_a_local_wheel_with_another_hash_than_the_index_states_is_refused(
    make_wheel: MakeWheel, session: Session
) -> None:
    named = msgspec.structs.replace(from_path(make_wheel("pkg", "1.0")), sha256="1" * 64)
    with pytest.raises(BrokenWheelError, match="is not the file that the index lists"):
        measure(session, NOTHING, GATES, named, Watch())


def test_a_local_wheel_that_goes_while_it_is_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match=r"/pkg-1\.0-py3-none-any\.whl: No such file"):
        measurement._content(from_path(tmp_path / "pkg-1.0-py3-none-any.whl"))


def test_a_stopped_watch_ends_the_reading_at_the_next_chunk(
    make_wheel: MakeWheel, shelf: Shelf, session: Session
) -> None:
    url = shelf.add(make_wheel("pkg", "1.0", {"pkg/_C.so": os.urandom(2_000_000)}))

    class Stopping(Watch):
        def read(self, member: str) -> None:
            super().read(member)
            self.stop()

    watch = Stopping()
    with pytest.raises(StoppedError):
        measure(session, NOTHING, GATES, from_url(url), watch)
    assert watch.member == "pkg/_C.so"
    assert 0 < watch.fetched < 1_000_000
    with pytest.raises(StoppedError):
        measure(session, NOTHING, GATES, from_url(url), watch)


def test_a_tool_that_was_killed_is_no_fact_of_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_: object, file: WheelFile, *__: object, **___: object) -> WheelEvidence:
        detail = "cuobjdump ended with code -9"
        return evidence(file, ObjectEvidence(path="a.so", size=1, outcome="refused", detail=detail))

    monkeypatch.setattr(measurement, "audit", killed)
    monkeypatch.setattr(measurement.WatchedWheel, "open_url", lambda *_, **__: Opened())
    with pytest.raises(ToolError, match=r"a\.so: cuobjdump ended with code -9"):
        measure(Session(), NOTHING, GATES, file(), Watch())


class Opened:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Seen(Progress):
    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.looked = threading.Event()

    def reading(self, file: WheelFile, watch: Watch) -> None:
        assert file
        assert watch
        self.threads.add(threading.get_ident())
        self.looked.set()

    def done(self, file: WheelFile, outcome: Outcome) -> None:
        assert file
        assert outcome
        self.threads.add(threading.get_ident())


def test_each_wheel_comes_with_its_evidence_or_with_what_went_wrong() -> None:
    def read(each: WheelFile, watch: Watch) -> WheelEvidence:
        watch.check()
        if each.version == "2.0":
            raise DeliveryError("cut")
        return evidence(each)

    files = [file(version) for version in ("1.0", "2.0", "3.0")]
    found = dict(measured(files, read, jobs=2, progress=Progress()))
    assert set(found) == set(files)
    assert isinstance(found[files[1]], DeliveryError)
    assert found[files[2]] == evidence(files[2])


def test_progress_is_told_by_the_thread_that_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matrix.crew.TICK", 0.005)
    seen = Seen()

    def read(each: WheelFile, _: Watch) -> WheelEvidence:
        assert seen.looked.wait(10)
        return evidence(each)

    assert len(list(measured([file("1.0"), file("2.0")], read, jobs=2, progress=seen))) == 2
    assert seen.threads == {threading.get_ident()}


def test_one_wheel_named_twice_ends_no_run() -> None:
    both = threading.Barrier(2)

    def read(each: WheelFile, _: Watch) -> WheelEvidence:
        both.wait(10)
        return evidence(each)

    assert len(list(measured([file(), file()], read, jobs=2, progress=Progress()))) == 2


def test_closed_early_it_stops_what_is_in_work_and_begins_no_more() -> None:
    begun: list[str] = []
    ended = threading.Event()

    def read(each: WheelFile, watch: Watch) -> WheelEvidence:
        begun.append(each.version)
        if each.version == "1.0":
            return evidence(each)
        try:
            while True:
                watch.check()
        finally:
            ended.set()

    outcomes = measured([file(f"{n}.0") for n in range(1, 9)], read, jobs=1, progress=Progress())
    assert next(outcomes)[0].version == "1.0"
    outcomes.close()
    assert ended.wait(10) or begun == ["1.0"]
    assert len(begun) <= 2
