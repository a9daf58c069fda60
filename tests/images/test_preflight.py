from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from images.here import Here, _told
from matrix.errors import ConfigurationError, ToolError

PYTHON = Path(sys.executable)
ANSWER = (
    b'{"python":"3.12.3","machine":"aarch64","packages":{},"missing":[],"compilers":[],"gpu":[]}'
)


def test_an_interpreter_without_torch_or_pytest_is_told_in_one_line(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {PYTHON} -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    with Here(bare) as owner, pytest.raises(ConfigurationError, match="torch and pytest not inst"):
        owner.preflight()


def test_what_gives_no_answer_is_a_failed_tool(tmp_path: Path) -> None:
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    silent.chmod(0o755)
    with Here(silent) as owner, pytest.raises(ToolError, match="does not say what is installed"):
        owner.preflight()


def test_noise_before_the_answer_does_not_matter() -> None:
    assert _told(b"{ hello\n" + ANSWER + b"\nbye\n") == _told(ANSWER)
    assert _told(b"hello\n") is None


def test_a_python_that_is_too_old_is_told(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text(f"#!/bin/sh\necho '{ANSWER.decode().replace('3.12.3', '3.9.2')}'\n")
    old.chmod(0o755)
    with Here(old) as owner, pytest.raises(ConfigurationError, match=r"is Python 3\.9\.2: the pro"):
        owner.preflight()


def test_the_last_words_of_an_interpreter_without_an_answer_are_told(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no module: probes' >&2; exit 1\n")
    broken.chmod(0o755)
    with Here(broken) as owner, pytest.raises(ToolError, match="installed: no module: probes"):
        owner.preflight()


def test_an_interpreter_that_hangs_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("images.here._PREFLIGHT", 0.5)
    hangs = tmp_path / "python"
    hangs.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {tmp_path}/pid\nwait\n")
    hangs.chmod(0o755)
    with Here(hangs) as owner, pytest.raises(ToolError, match="no answer after"):
        owner.preflight()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
