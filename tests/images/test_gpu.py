from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from images import gpu
from matrix.errors import OutsideError

UUID = "GPU-00000000-0000-4000-8000-00000000abcd"
HOLD = f"""
from pathlib import Path
from images import gpu
gpu.LOCKS = (Path(__import__("sys").argv[1]),)
with gpu.held({UUID!r}, wait=False, tell=print):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that everybody may write to, as /run/lock."""
    folder = tmp_path / "lock"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(gpu, "LOCKS", (folder,))
    return folder


def smi(folder: Path, monkeypatch: pytest.MonkeyPatch, *rows: str) -> Path:
    """Put a fake nvidia-smi on PATH that prints the rows of a file."""
    file, told = folder / "nvidia-smi", folder / "rows"
    told.write_text("".join(f"{row}\n" for row in rows))
    file.write_text(f"#!/bin/sh\ncat {told}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return told


def test_a_gpu_is_held_by_one_at_a_time_and_whoever_has_it_is_told(place: Path) -> None:
    holder = [sys.executable, "-c", HOLD, str(place)]
    with subprocess.Popen(
        holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        said = f"a run of process {process.pid}, user {os.getuid()} has it"
        with (
            pytest.raises(OutsideError, match=f"{UUID}: {said}; wait for it with --wait"),
            gpu.held(UUID, wait=False, tell=print),
        ):
            pass
        with gpu.held(f"{UUID}0", wait=False, tell=print):
            pass  # another one
        told: list[str] = []

        def end(line: str) -> None:
            told.append(line)
            process.kill()

        with gpu.held(UUID, wait=True, tell=end):
            assert told == [f"{UUID}: {said}; waiting"]


def test_one_that_a_run_has_or_anything_else_computes_on_is_not_idle(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = smi(tmp_path, monkeypatch)
    assert gpu.idle(UUID)
    with gpu.held(UUID, wait=False, tell=print):
        assert not gpu.idle(UUID)
        assert gpu.idle(f"{UUID}0"), "another one"
    rows.write_text(f"{UUID}, 1234, python, 20480 MiB\n")
    assert not gpu.idle(UUID)
    assert len([*place.iterdir()]) == 2


def test_a_lock_is_another_users_to_take_as_well(place: Path) -> None:
    before = os.umask(0o077)
    try:
        with gpu.held(UUID, wait=False, tell=print):
            (file,) = place.iterdir()
            assert file.stat().st_mode & 0o666 == 0o666
    finally:
        os.umask(before)


def test_a_link_in_its_place_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (place / f"nvfp4-matrix-{UUID}.lock").symlink_to(tmp_path / "mine")
    with (
        pytest.raises(OutsideError, match="locks are held there"),
        gpu.held(UUID, wait=False, tell=print),
    ):
        pass
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.parametrize("mode", [0o666, 0o444])
def test_what_is_no_file_in_its_place_is_refused(place: Path, mode: int) -> None:
    os.mkfifo(place / f"nvfp4-matrix-{UUID}.lock", mode)
    with (
        pytest.raises(OutsideError, match="is no file of a lock, remove it"),
        gpu.held(UUID, wait=False, tell=print),
    ):
        pass


def test_a_second_name_of_somebodys_file_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (place / f"nvfp4-matrix-{UUID}.lock").hardlink_to(tmp_path / "mine")
    with (
        pytest.raises(OutsideError, match="is no file of a lock, remove it"),
        gpu.held(UUID, wait=False, tell=print),
    ):
        pass
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_uuid_is_no_path(place: Path) -> None:
    with gpu.held("../../GPU", wait=False, tell=print):
        assert [each.name for each in place.iterdir()] == ["nvfp4-matrix-GPU.lock"]


def test_who_computes_on_a_gpu_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi(
        tmp_path,
        monkeypatch,
        f"{UUID}, 77, /usr/bin/python3, 2048 MiB",
        f"{UUID}, 78, /opt/a, b/server, [N/A]",
        "GPU-other, 79, x, 1 MiB",
        "No running processes found",
    )
    assert gpu.users(UUID) == ("77 (python3, 2048 MiB)", "78 (server, [N/A])")
    with pytest.raises(OutsideError, match=r"in use by process 77 \(python3, 2048 MiB\); 78"):
        gpu.free(UUID, wait=False, tell=print)


def test_a_gpu_in_use_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = smi(tmp_path, monkeypatch, f"{UUID}, 77, x, 1 MiB")
    monkeypatch.setattr(gpu, "_STEP", 0.01)
    told: list[str] = []

    def end(line: str) -> None:
        told.append(line)
        rows.write_text("")

    gpu.free(UUID, wait=True, tell=end)
    assert told == [f"{UUID} is in use by process 77 (x, 1 MiB); waiting"]


def test_without_an_nvidia_smi_nobody_is_known_to_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert gpu.users(UUID) == ()
    gpu.free(UUID, wait=False, tell=print)
