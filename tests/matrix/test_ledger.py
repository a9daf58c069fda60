from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from matrix.errors import ConfigurationError, OutsideError
from matrix.evidence.record import ObjectEvidence, WheelEvidence
from matrix.ledger import Ledger, current


def record(
    version: str, machine: str = "x86_64", build: str = "", package: str = "vllm", **more: object
) -> WheelEvidence:
    tag = f"-{build}" if build else ""
    values: dict[str, object] = {
        "package": package,
        "version": version,
        "build": build,
        "machine": machine,
        "filename": f"{package}-{version}{tag}-cp38-abi3-{machine}.whl",
        "sha256": "0" * 64,
        "bytes_total": 1,
        "bytes_fetched": 1,
        "measured": "2026-11-21",
    }
    return WheelEvidence(**{**values, **more})  # type: ignore[arg-type]


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    held = record(
        "1.0",
        requires=("torch==2.14.0", "\x1b[31m"),
        objects=(ObjectEvidence(path="a/ß.so", size=3, outcome="read", images={"sm_120f": 2}),),
        facts={"cuda": "13.0"},
    )
    path = Ledger(tmp_path).write(held)
    assert path == tmp_path / "vllm" / f"{held.filename}.json"
    assert Ledger(tmp_path).read() == (held,)
    assert path.read_bytes() == Ledger(tmp_path / "other").write(held).read_bytes()
    assert path.stat().st_mode & 0o777 == 0o644
    assert "\x1b" not in path.read_text()


def test_records_are_ordered_by_package_and_version_not_by_name_of_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for version in ("0.10.0", "0.9.2", "0.9.2.post1"):
        ledger.write(record(version))
    ledger.write(record("1.0", package="torch"))
    ledger.write(record("0.9.2", "aarch64"))
    assert [(r.package, r.version, r.machine) for r in ledger.read()] == [
        ("torch", "1.0", "x86_64"),
        ("vllm", "0.9.2", "x86_64"),
        ("vllm", "0.9.2", "aarch64"),
        ("vllm", "0.9.2.post1", "x86_64"),
        ("vllm", "0.10.0", "x86_64"),
    ]


def test_of_build_tags_the_highest_is_current_and_all_are_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for build in ("", "2", "10", "9a"):
        ledger.write(record("1.0", build=build))
    ledger.write(record("1.0", "aarch64"))
    assert len(ledger.read()) == 5
    assert [(r.machine, r.build) for r in ledger.current()] == [("x86_64", "10"), ("aarch64", "")]
    assert current(ledger.read()) == ledger.current()
    found = ledger.find("vllm", "1.0", "x86_64")
    assert found
    assert found.build == "10"


def test_a_release_is_found_by_any_spelling_of_its_version_on_its_machine(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(record("1.0", "x86_64"))
    ledger.write(record("2.0", "any"))
    assert ledger.find("vllm", "1", "x86_64") == record("1.0", "x86_64")
    assert ledger.find("vllm", "1.0.0", "aarch64") is None
    assert ledger.find("vllm", "2.0", "aarch64") == record("2.0", "any")
    assert ledger.find("vllm", "3.0", "x86_64") is None
    assert ledger.find("torch", "1.0", "x86_64") is None


def test_a_ledger_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "none").read() == ()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'{"package": "vllm"}', b'{"unknown": 1}']
)
def test_a_record_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    path = Ledger(tmp_path).write(record("1.0"))
    path.write_bytes(content)
    with pytest.raises(
        ConfigurationError, match=r"cp38-abi3-x86_64\.whl\.json: .*delete it and refresh"
    ):
        Ledger(tmp_path).read()


def test_a_hash_that_is_none_is_refused(tmp_path: Path) -> None:
    path = Ledger(tmp_path).write(record("1.0"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "sha256": "beef"}))
    with pytest.raises(ConfigurationError, match="sha256"):
        Ledger(tmp_path).read()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_record_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    ledger = Ledger(tmp_path)
    path = ledger.write(record("1.0"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else Path, step, full)
        with pytest.raises(OutsideError, match=r"\.whl\.json: No space left on device"):
            ledger.write(record("1.0", bytes_total=2))
    assert ledger.read() == (record("1.0"),)
    assert list(path.parent.iterdir()) == [path]


def test_who_reads_while_another_writes_sees_a_whole_record(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(record("1.0"))
    done = threading.Event()

    def write() -> None:
        for size in range(30):
            ledger.write(record("1.0", bytes_total=size, requires=("x" * 20_000,)))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        assert len(ledger.read()) == 1
    thread.join()
