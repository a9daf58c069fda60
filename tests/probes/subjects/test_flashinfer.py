from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from probes.subjects import flashinfer

pytestmark = pytest.mark.torch

PACKAGE = """
import os
SEEN = os.environ.get("CUDA_VISIBLE_DEVICES")
"""
CORE = """
import os
class Context:
    def __init__(self):
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == ""
        self.TARGET_CUDA_ARCHS = set() if hidden else {(12, "1a")}
current_compilation_context = Context()
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FlashInfer that looks for GPUs when it is imported, as the real one does."""
    place = tmp_path / "flashinfer"
    (place / "jit").mkdir(parents=True)
    (place / "__init__.py").write_text(PACKAGE + "import flashinfer.jit.core\n")
    (place / "jit" / "__init__.py").touch()
    (place / "jit" / "core.py").write_text(CORE)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "flashinfer"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("visible", [None, "1"])
def test_importing_it_sees_no_gpu_and_leaves_the_environment_as_it_was(
    monkeypatch: pytest.MonkeyPatch, visible: str | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    flashinfer.load()
    assert sys.modules["flashinfer"].SEEN == ""
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == visible


@pytest.mark.usefixtures("installed")
def test_the_subject_that_is_made_of_it_compiles_for_the_gpus_that_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    flashinfer.load()
    context = sys.modules["flashinfer.jit.core"].current_compilation_context
    assert set() == context.TARGET_CUDA_ARCHS
    flashinfer.make(torch.device("cpu"))
    assert {(12, "1a")} == context.TARGET_CUDA_ARCHS
