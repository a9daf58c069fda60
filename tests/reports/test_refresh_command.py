from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrix.journal import Journal
from matrix.ledger import Ledger
from matrix.published import read_listing
from reports.progress import Lines
from tests.matrix.test_proberun import result

if TYPE_CHECKING:
    from tests.conftest import Command, MakeWheel, Shelf

TORCH = "cp312-cp312-manylinux_2_28_x86_64"
CUBLAS = "py3-none-manylinux_2_27_x86_64"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def stacked(make_wheel: MakeWheel, shelf: Shelf) -> Shelf:
    """An index with a vLLM that requires a torch that requires a cuBLAS; and other cuBLAS."""
    shelf.add(
        make_wheel("vllm", "0.33.0", tag="cp38-abi3-manylinux_2_31_x86_64",
                   requires=["torch==2.14.0", "numpy"])
    )  # fmt: skip
    shelf.add(
        make_wheel("torch", "2.14.0", {"torch/version.py": b"cuda = '13.0'\n"}, tag=TORCH,
                   requires=["nvidia-cublas==13.1.0.3"])
    )  # fmt: skip
    for version in ("13.0.0.19", "13.1.0.3", "13.2.0.9"):
        shelf.add(make_wheel("nvidia-cublas", version, tag=CUBLAS))
    return shelf


def held(folder: Path) -> list[str]:
    return [f"{record.package}=={record.version}" for record in Ledger(folder).read()]


def test_what_a_wheel_requires_is_read_in_the_rounds_that_follow(
    stacked: Shelf, command: Command, ledger: Path
) -> None:
    code, out, err = command("refresh", "--ledger", ledger)
    assert (code, out) == (0, "3 of 3 wheels are in the ledger\n")
    assert held(ledger) == ["nvidia-cublas==13.1.0.3", "torch==2.14.0", "vllm==0.33.0"]
    assert err.count("to read: ") == 2
    assert "nvidia_cublas-13.2.0.9-py3-none-manylinux_2_27_x86_64.whl" not in stacked.fetched()


def test_a_second_refresh_reads_nothing(stacked: Shelf, command: Command, ledger: Path) -> None:
    command("refresh", "--ledger", ledger)
    stacked.asked.clear()
    code, out, _ = command("refresh", "--ledger", ledger)
    assert (code, out) == (0, "the ledger has every release that the index has\n")
    assert stacked.fetched() == []


def test_the_amount_is_told_before_anything_is_read(
    stacked: Shelf, command: Command, ledger: Path
) -> None:
    size = sum(len(content) for name, content in stacked.wheels.items() if "cublas" not in name)
    _, _, err = command("refresh", "--ledger", ledger)
    assert err.startswith(f"to read: 2 wheels of {size / 1e6:,.1f} MB together; ")
    stacked.sizes = False
    _, _, err = command("refresh", "--ledger", ledger, "--list")
    assert not err
    _, _, err = command("refresh", "--ledger", ledger.parent / "other", "--list")
    assert err == "to read: 2 wheels; the index states no sizes\n"


def test_list_names_what_is_missing_and_touches_nothing(
    stacked: Shelf, command: Command, ledger: Path
) -> None:
    code, out, _ = command("refresh", "--ledger", ledger, "--list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["vllm==0.33.0", "torch==2.14.0"]
    assert out.splitlines()[0].split()[1::3] == [
        "x86_64",
        "vllm-0.33.0-cp38-abi3-manylinux_2_31_x86_64.whl",
    ]
    assert stacked.fetched() == []
    assert not ledger.exists()


def test_one_package_is_read_alone_and_the_listing_is_whole(
    stacked: Shelf, command: Command, ledger: Path
) -> None:
    assert stacked.wheels
    command("refresh", "--ledger", ledger, "--package", "Torch")
    assert held(ledger) == ["torch==2.14.0"]
    assert list(read_listing(ledger).packages) == ["nvidia-cublas", "torch", "vllm"]


def test_the_listing_has_every_release_newest_first_and_no_stray_file_beside_it(
    stacked: Shelf, command: Command, ledger: Path
) -> None:
    assert stacked.wheels
    command("refresh", "--ledger", ledger)
    listing = json.loads((ledger / "releases.json").read_text())
    assert listing["packages"]["nvidia-cublas"] == {
        "13.2.0.9": ["x86_64"],
        "13.1.0.3": ["x86_64"],
        "13.0.0.19": ["x86_64"],
    }
    assert list(listing["packages"]["nvidia-cublas"]) == ["13.2.0.9", "13.1.0.3", "13.0.0.19"]
    assert not list(ledger.rglob("*.part"))
    assert (ledger / "releases.json").stat().st_mode & 0o777 == 0o644


def test_without_a_listing_from_the_index_the_old_one_stays(
    stacked: Shelf, command: Command, ledger: Path
) -> None:
    command("refresh", "--ledger", ledger)
    before = (ledger / "releases.json").read_bytes()
    for page, code in (((500, "text/plain", b""), 3), ((404, "text/plain", b""), 2)):
        stacked.page = page
        assert command("refresh", "--ledger", ledger)[0] == code
        assert (ledger / "releases.json").read_bytes() == before


def test_a_wheel_that_fails_is_told_and_holds_up_no_other(
    stacked: Shelf, make_wheel: MakeWheel, command: Command, ledger: Path
) -> None:
    name = "nvidia_cublas-13.1.0.3-py3-none-manylinux_2_27_x86_64.whl"
    stacked.add(make_wheel("nvidia-cublas", "13.1.0.3", tag=CUBLAS), b"no zip at all")
    code, out, err = command("refresh", "--ledger", ledger)
    assert (code, out) == (3, "2 of 3 wheels are in the ledger\n")
    assert held(ledger) == ["torch==2.14.0", "vllm==0.33.0"]
    assert f"{stacked.base}/files/{name}: is no whole zip file" in err
    assert stacked.asked.count(f"/files/{name}") == 1
    assert err.splitlines()[-1].startswith("nvfp4-matrix: 1 of 3 wheels could not be read")
    assert "Traceback" not in err


def test_a_record_by_other_rules_is_read_again_when_asked(
    stacked: Shelf, command: Command, ledger: Path
) -> None:
    command("refresh", "--ledger", ledger)
    path = next(ledger.glob("torch/*.json"))
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "rules": "0" * 16}))
    stacked.asked.clear()
    command("refresh", "--ledger", ledger)
    assert stacked.fetched() == []
    command("refresh", "--ledger", ledger, "--outdated")
    assert stacked.fetched() == [record["filename"]]
    assert json.loads(path.read_text())["rules"] == record["rules"]


def test_one_that_was_replaced_and_is_outdated_is_read_once(
    stacked: Shelf, command: Command, ledger: Path
) -> None:
    command("refresh", "--ledger", ledger)
    path = next(ledger.glob("torch/*.json"))
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "rules": "0" * 16, "sha256": "0" * 64}))
    assert stacked.wheels
    _, out, _ = command("refresh", "--ledger", ledger, "--outdated")
    assert out == "1 of 1 wheels are in the ledger\n"
    assert json.loads(path.read_text())["sha256"] == record["sha256"]


def test_two_at_once_read_nothing_twice(
    stacked: Shelf, command: Command, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the lock, and then finds the ledger filled."""
    filled = ledger.parent / "filled"
    command("refresh", "--ledger", filled)
    ledger.mkdir()
    folder = os.open(ledger, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)

    def first() -> None:
        for record in Ledger(filled).read():
            Ledger(ledger).write(record)
        os.close(folder)

    stacked.asked.clear()
    thread = threading.Thread(target=first)
    monkeypatch.setattr(Lines, "waiting", lambda _: thread.start())
    code, _, _ = command("refresh", "--ledger", ledger)
    thread.join()
    assert code == 0
    assert stacked.fetched() == []


def test_a_package_that_the_data_does_not_know_is_exit_2(shelf: Shelf, command: Command) -> None:
    code, _, err = command("refresh", "--package", "vlm")
    assert (code, err) == (
        2,
        "nvfp4-matrix: the data knows no package 'vlm'; did you mean vllm?\n",
    )
    assert shelf.asked == []


def test_a_ledger_that_cannot_be_written_is_exit_3_before_anything_is_read(
    stacked: Shelf, command: Command, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = command("refresh", "--ledger", ledger)
    assert (code, err) == (
        3,
        f"nvfp4-matrix: {ledger}/releases.json: {os.strerror(errno.ENOSPC)}\n",
    )
    assert stacked.fetched() == []
    assert list(ledger.iterdir()) == []


def test_a_workflow_is_handed_the_stacks_that_are_new_and_not_probed_yet(
    stacked: Shelf, command: Command, ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del stacked
    outputs, kept = tmp_path / "outputs", tmp_path / "kept"
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    asked = ("refresh", "--list", "--github-output", "--ledger", ledger, "--results", kept)
    assert command(*asked)[0] == 0
    Journal(kept).append([result("m=1")])
    assert command(*asked)[0] == 0
    command("refresh", "--ledger", ledger)
    assert command(*asked)[0] == 0
    assert outputs.read_text() == "stacks=vllm==0.33.0\nstacks=\nstacks=\n"


def test_what_is_handed_on_is_what_is_listed(command: Command) -> None:
    code, _, err = command("refresh", "--github-output")
    assert (code, err.count("\n")) == (2, 1)
    assert "--github-output goes with --list" in err
