from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.cli import main

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Path]:
    """Stand in the job of a workflow that an event started; returns the file of its outputs."""
    outputs = tmp_path / "outputs"
    outputs.touch()
    for name in ("NVFP4_MATRIX_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "NVFP4_MATRIX_APP_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    monkeypatch.setenv("GITHUB_REPOSITORY", "me/rigs")
    monkeypatch.setenv("GITHUB_RUN_ID", "7")
    monkeypatch.chdir(tmp_path)

    def started(event: Any) -> Path:
        path = tmp_path / "event.json"
        path.write_text(json.dumps(event))
        monkeypatch.setenv("GITHUB_EVENT_PATH", str(path))
        return outputs

    return started


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nvfp4-matrix", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return called
