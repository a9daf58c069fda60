"""An image for another machine than the engine's: only where the engine runs such programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from images import build
from images.engine import Image, Wanted
from matrix.errors import ConfigurationError, EngineError

BASE = Image("sha256:0", 1, {}, "aarch64", "")


def engine(said: str | None) -> Any:
    """An x86_64 one in which `uname` prints that; None: it starts no such program."""

    @contextmanager
    def container(wanted: Wanted) -> Iterator[Any]:
        assert (wanted.image, wanted.command) == (BASE.id, ("uname", "-m"))
        if said is None:
            raise EngineError("exec user process caused: exec format error")
        yield SimpleNamespace(run=lambda _seconds: (0, said))

    return SimpleNamespace(machine="x86_64", container=container)


def test_a_base_that_runs_is_enough() -> None:
    build._check_runs(engine("aarch64\n"), BASE, "aarch64")


def test_the_engines_own_machine_is_not_asked() -> None:
    build._check_runs(SimpleNamespace(machine="aarch64"), BASE, "aarch64")  # type: ignore[arg-type]


@pytest.mark.parametrize("said", [None, "exec format error\n", "x86_64\n"])
def test_an_engine_that_emulates_nothing_refuses_in_one_line(said: str | None) -> None:
    with pytest.raises(ConfigurationError, match="runs nothing else") as caught:
        build._check_runs(engine(said), BASE, "aarch64")
    assert "install qemu-user-static" in str(caught.value)
