"""What an import does to the processes that are forked after it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from probes import importing, plugin
from probes.case import Case
from probes.request import Request

pytestmark = pytest.mark.torch

MAPPED = "7f00-7f01 r-xp 00000000 00:00 0 /usr/lib/x86_64-linux-gnu/libcuda.so.1\n"
NOT_INITIALIZED, NO_DEVICE = 3, 100


class Driver:
    """libcuda, whose calls all give one error."""

    def __init__(self, error: int) -> None:
        self.cuDeviceGetCount = lambda _count: error


class Adapter:
    """A package that keeps where it was loaded; one that starts CUDA makes this process look as if."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self) -> None:
        with (self.folder / "loaded").open("a") as file:
            file.write(f"{os.getpid()}\n")

    @property
    def processes(self) -> list[str]:
        return (self.folder / "loaded").read_text().split()


@pytest.mark.parametrize(
    ("error", "started"), [(0, True), (NOT_INITIALIZED, False), (NO_DEVICE, False)]
)
def test_the_driver_tells_whether_a_package_started_it(error: int, *, started: bool) -> None:
    assert importing.cuda_started(driver=Driver(error)) is started


def test_a_driver_that_is_not_loaded_was_not_started(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(MAPPED.replace("libcuda.so.1", "libc.so.6"))
    assert not importing.cuda_started(maps)
    assert not importing.cuda_started(tmp_path / "none")


@pytest.mark.parametrize("starts", [False, True])
def test_a_package_that_starts_cuda_is_left_to_the_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, starts: bool
) -> None:
    request = Request(
        run="r", stack="s", target="t", machine="x86_64", subject="reference", device="cpu",
        results=str(tmp_path / "results.jsonl"),
    )  # fmt: skip
    adapter = Adapter(tmp_path)
    monkeypatch.setattr(importing, "cuda_started", lambda: starts)
    run = plugin.Probes(request)
    monkeypatch.setattr(run, "adapter", adapter)
    run._planned = [(Case("correctness.gemm", "gemm", "plain"), "0")]
    run.pytest_runtestloop()
    run.pytest_unconfigure()
    assert len(adapter.processes) == (1 if starts else 2)
    assert (str(os.getpid()) in adapter.processes) is not starts
    assert run.broken is None
