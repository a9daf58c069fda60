from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from matrix.capability import CapabilitiesFile, PackageRule
from matrix.errors import IndexAnswerError, NotFoundError, OutsideError
from matrix.evidence.index import Index
from matrix.evidence.record import WheelEvidence
from matrix.evidence.transport import Connection, Session
from matrix.evidence.wheelfile import WheelFile, parse_wheel
from matrix.fill import ask, fill, keep_listing, missing, outdated, published
from matrix.gate import GatesFile
from matrix.ledger import Ledger
from matrix.measurement import Outcome, Progress
from matrix.published import LISTING, Listing, read_listing
from matrix.rules import rules_digest

if TYPE_CHECKING:
    from tests.conftest import MakeWheel, Shelf

GATES = GatesFile(gates=())
LINUX = "cp312-cp312-manylinux_2_28_x86_64"


def rules(*packages: PackageRule) -> CapabilitiesFile:
    return CapabilitiesFile(capabilities=(), instructions=(), packages=packages, pieces=())


def files(*names: str, sha256: str = "") -> dict[str, list[WheelFile]]:
    found: dict[str, list[WheelFile]] = {}
    for name in names:
        file = parse_wheel(f"{name}.whl", f"https://index.example/{name}.whl", sha256=sha256)
        assert file
        found.setdefault(file.package, []).append(file)
    return found


def names(chosen: Sequence[WheelFile]) -> list[str]:
    return [file.filename.removesuffix(".whl") for file in chosen]


def record(file: WheelFile, known: CapabilitiesFile, **more: str) -> WheelEvidence:
    return WheelEvidence(
        package=file.package,
        version=file.version,
        machine=file.machine,
        filename=file.filename,
        sha256=more.get("sha256", "0" * 64),
        bytes_total=1,
        bytes_fetched=1,
        measured="2026-11-21",
        rules=more.get("rules", rules_digest(file.package, file.version, known, GATES)),
    )


RANGED = PackageRule(package="vllm", reader="kernels", versions=">=0.8.5")
PINNED = PackageRule(package="torchao", reader="kernels")


@pytest.mark.parametrize(
    ("rule", "wanted", "chosen"),
    [
        (RANGED, {}, ["0.34.0", "0.33.0"]),
        (RANGED, {"vllm": {"0.8.4"}}, ["0.34.0", "0.33.0"]),
        (RANGED, {"vllm": {"0.35.0rc1"}}, ["0.35.0rc1", "0.34.0", "0.33.0"]),
        (msgspec.structs.replace(RANGED, versions=""), {}, []),
        (msgspec.structs.replace(RANGED, versions=""), {"vllm": {"0.8.4"}}, ["0.8.4"]),
        (msgspec.structs.replace(RANGED, versions=""), {"vllm": {"0.33"}}, ["0.33.0"]),
        (msgspec.structs.replace(RANGED, versions=""), {"vllm": {"9"}, "torch": {"0.33"}}, []),
        (PINNED, {"vllm": {"0.33.0"}}, []),
    ],
)
def test_a_range_means_its_releases_and_no_range_means_what_is_pinned(
    rule: PackageRule, wanted: Mapping[str, set[str]], chosen: list[str]
) -> None:
    versions = ("0.8.4", "0.33.0", "0.34.0", "0.35.0rc1")
    listed = files(*(f"vllm-{version}-{LINUX}" for version in versions))
    found = published(listed, rules(rule), wanted)
    assert [file.version for file in found] == chosen


def test_each_machine_and_each_build_tag_is_read_by_the_first_python_tag_there_is() -> None:
    tags = ("cp311-cp311", "cp312-cp312", "cp313-cp313")
    listed = files(
        *(f"vllm-1.0-{tag}-manylinux_2_28_{m}" for tag in tags for m in ("x86_64", "aarch64")),
        "vllm-1.0-2-cp312-cp312-manylinux_2_28_x86_64",
        "vllm-1.0-10-cp312-cp312-manylinux_2_28_x86_64",
    )
    assert names(published(listed, rules(RANGED), {})) == [
        "vllm-1.0-2-cp312-cp312-manylinux_2_28_x86_64",
        "vllm-1.0-10-cp312-cp312-manylinux_2_28_x86_64",
        "vllm-1.0-cp312-cp312-manylinux_2_28_x86_64",
        "vllm-1.0-cp312-cp312-manylinux_2_28_aarch64",
    ]
    eleven = msgspec.structs.replace(RANGED, python_tags=("cp310", "cp311"))
    assert len(published(listed, rules(eleven), {})) == 2


def test_a_wheel_for_any_machine_is_read_once() -> None:
    assert names(published(files("vllm-1.0-py3-none-any"), rules(RANGED), {})) == [
        "vllm-1.0-py3-none-any"
    ]


def test_missing_is_what_the_ledger_lacks_or_has_with_other_content() -> None:
    known = rules(RANGED)
    listed = files(f"vllm-1.0-{LINUX}", f"vllm-2.0-{LINUX}", sha256="1" * 64)
    first, second = listed["vllm"]
    assert missing(listed, [], known, {}) == [second, first]
    assert missing(listed, [record(first, known, sha256="1" * 64)], known, {}) == [second]
    assert missing(listed, [record(first, known)], known, {}) == [second, first]
    unhashed = files(f"vllm-1.0-{LINUX}")
    assert missing(unhashed, [record(first, known)], known, {}) == []


def test_outdated_is_what_was_read_by_other_rules() -> None:
    known = rules(RANGED)
    listed = files(f"vllm-1.0-{LINUX}", f"vllm-2.0-{LINUX}")
    first, second = listed["vllm"]
    held = [record(first, known, rules="0" * 16), record(second, known)]
    assert outdated(listed, held, known, GATES, {}) == [first]


@pytest.fixture
def session() -> Session:
    return Session(Connection(timeout=5, retries=0, backoff=0))


def index(shelf: Shelf, session: Session) -> Index:
    return Index(session, [f"{shelf.base}/simple"])


def test_a_package_that_the_index_lacks_has_no_files_and_none_at_all_is_an_error(
    shelf: Shelf, make_wheel: MakeWheel, session: Session
) -> None:
    shelf.add(make_wheel("vllm", "1.0"))
    listed = ask(index(shelf, session), ["torch", "vllm"])
    assert {name: len(found) for name, found in listed.files.items()} == {"torch": 0, "vllm": 1}
    assert listed.listing("2026-11-21").packages == {"vllm": {"1.0": ("any",)}}
    with pytest.raises(NotFoundError, match=r"^flashinfer is not in"):
        ask(index(shelf, session), ["torch", "flashinfer"])
    shelf.page = (503, "text/plain", b"")
    with pytest.raises(IndexAnswerError, match="answers 503"):
        ask(index(shelf, session), ["torch", "vllm"])


def test_each_page_is_asked_for_once(shelf: Shelf, make_wheel: MakeWheel, session: Session) -> None:
    shelf.add(make_wheel("vllm", "1.0"))
    ask(index(shelf, session), ["vllm", "torch", "vllm"])
    assert sorted(shelf.asked) == ["/simple/torch/", "/simple/vllm/"]


class Seen(Progress):
    def __init__(self) -> None:
        self.wheels: list[str] = []
        self.waited = threading.Event()

    def waiting(self) -> None:
        self.waited.set()

    def done(self, file: WheelFile, outcome: Outcome) -> None:
        self.wheels.append(f"{file.version} {type(outcome).__name__}")


def shelved(shelf: Shelf, make_wheel: MakeWheel, session: Session) -> list[WheelFile]:
    for version in ("1.0", "2.0"):
        shelf.add(make_wheel("vllm", version))
    return ask(index(shelf, session), ["vllm"]).files["vllm"]


def test_a_wheel_is_kept_as_soon_as_it_is_read(
    shelf: Shelf, make_wheel: MakeWheel, session: Session, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "ledger")
    kept: list[int] = []

    class Counting(Progress):
        def done(self, file: WheelFile, outcome: Outcome) -> None:
            assert file
            assert isinstance(outcome, WheelEvidence)
            kept.append(len(ledger.read()))

    todo = shelved(shelf, make_wheel, session)
    assert (
        fill(todo, session, rules(RANGED), GATES, ledger=ledger, jobs=1, progress=Counting()) == []
    )
    assert kept == [0, 1]
    assert [each.version for each in ledger.read()] == ["1.0", "2.0"]


def test_a_wheel_whose_hash_the_index_does_not_state_is_no_record(
    shelf: Shelf, make_wheel: MakeWheel, session: Session, tmp_path: Path
) -> None:
    todo = [
        msgspec.structs.replace(file, sha256="") for file in shelved(shelf, make_wheel, session)
    ]
    ledger = Ledger(tmp_path / "ledger")
    failures = fill(todo, session, rules(RANGED), GATES, ledger=ledger)
    assert len(failures) == 2
    assert "the index states no SHA-256 for it" in str(failures[0][1])
    assert ledger.read() == ()


def test_what_another_fill_did_meanwhile_is_left_out(
    shelf: Shelf, make_wheel: MakeWheel, session: Session, tmp_path: Path
) -> None:
    todo = shelved(shelf, make_wheel, session)
    ledger = Ledger(tmp_path / "ledger")
    fill(todo[:1], session, rules(RANGED), GATES, ledger=ledger)
    seen = Seen()
    folder = os.open(ledger.folder, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    both = threading.Thread(
        target=fill,
        args=(todo, session, rules(RANGED), GATES),
        kwargs={"ledger": ledger, "progress": seen},
    )
    both.start()
    assert seen.waited.wait(10)
    assert seen.wheels == []
    os.close(folder)
    both.join(10)
    assert seen.wheels == ["2.0 WheelEvidence"]


def test_a_ledger_that_is_a_file_is_an_error_of_the_disk(tmp_path: Path, session: Session) -> None:
    (tmp_path / "ledger").touch()
    with pytest.raises(OutsideError, match="/ledger: "):
        fill([], session, rules(), GATES, ledger=Ledger(tmp_path / "ledger"))


def test_a_listing_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Listing(listed="2026-11-20", packages={"vllm": {"1.0": ("any",)}})
    assert keep_listing(tmp_path, first) == tmp_path / LISTING
    assert read_listing(tmp_path) == first

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutsideError, match=r"releases\.json: No space left on device"):
        keep_listing(tmp_path, Listing(listed="2026-11-21", packages={}))
    assert read_listing(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == [LISTING]
