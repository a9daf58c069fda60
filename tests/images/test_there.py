from __future__ import annotations

from typing import Any

import pytest

from images import there
from images.engine import Image
from matrix.errors import ConfigurationError

LABELS = {
    "nvfp4-matrix.fingerprint": "0" * 64,
    "nvfp4-matrix.stack": "mine",
    "nvfp4-matrix.environment": "devel",
    "nvfp4-matrix.python": "3.12",
    "nvfp4-matrix.pin.torch": "2.14.0+cu130",
    "nvfp4-matrix.pin.pytest": "9.0",
    "nvfp4-matrix.pin.vllm": "0.33.0",
}


class Engine:
    """Has one image, or none."""

    machine = "x86_64"

    def __init__(self, labels: dict[str, str] | None, machine: str = "x86_64") -> None:
        self._image = None if labels is None else Image("sha256:1", 1, labels, machine, created="")

    def image(self, _: str) -> Image | None:
        return self._image


def found(*arguments: Any) -> Image:
    engine: Any = Engine(*arguments)
    return there.found(engine, "nvfp4-matrix:0")


def without(*names: str) -> dict[str, str]:
    return {name: each for name, each in LABELS.items() if name.rpartition(".")[2] not in names}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((None,), "no such image here; pull it"),
        (({},), "is no image of this program's"),
        (({**LABELS, "nvfp4-matrix.fingerprint": "../etc"},), "is no image of this program's"),
        ((without("stack"),), "says a stack whose name is empty"),
        (({**LABELS, "nvfp4-matrix.stack": "a\x1b[1m"},), "whose name has characters that cannot"),
        ((LABELS, "aarch64"), "is for aarch64, and this machine is x86_64"),
        ((without("pytest"),), "pytest not installed there"),
        ((without("pytest", "torch"),), "torch and pytest not installed there"),
    ],
)
def test_an_image_that_cannot_be_probed_here_is_told(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        found(*arguments)


def test_an_image_says_what_it_holds_without_being_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    image = found(LABELS)
    told = there.told(image)
    assert told.packages == {"torch": "2.14.0+cu130", "pytest": "9.0", "vllm": "0.33.0"}
    assert (told.python, told.machine, told.gpu) == ("3.12", "x86_64", ())
    assert told.compilers == ("nvcc", "ninja")
    assert there.environment(image) == "devel"
    assert there.told(found({**LABELS, "nvfp4-matrix.environment": "slim"})).compilers == ()
