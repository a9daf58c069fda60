from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from matrix.evidence import index as index_module
from matrix.evidence.transport import Session


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from reports.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_help_names_examples() -> None:
    told = run("audit", "--help")
    assert told.returncode == 0
    assert "nvfp4-matrix audit vllm==0.33.0" in told.stdout


@pytest.mark.parametrize("requirement", ["vllm", "vllm==", "==1", ">=", "vllm=0.33.0"])
def test_what_is_no_requirement_is_one_line_and_exit_2(requirement: str) -> None:
    told = run("audit", requirement)
    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
    assert "is no PACKAGE==VERSION" in told.stderr


def test_an_index_that_is_not_there_is_one_line_and_exit_3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    told = run("audit", "vllm==0.33.0", "--no-ledger")
    assert told.returncode == 3
    assert told.stderr.count("\n") == 1
    assert "127.0.0.1:9" in told.stderr


def test_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, reports.cli; print([m for m in ('requests','rich','jinja2','yaml') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_an_index_is_named_without_its_credentials() -> None:
    index = index_module.Index(Session(), ["http://user:word@127.0.0.1:9/simple"])
    with pytest.raises(Exception, match=r"http://127\.0\.0\.1:9/simple/vllm/"):
        index.files("vllm")


def test_a_defect_of_the_program_is_one_line_without_its_traceback() -> None:
    code = (
        "import reports.commands.show as s, reports.cli as c\n"
        "def broken(**_): raise KeyError('\\x1b[31mred')\n"
        "s.show.callback = broken\n"
        "c.main()\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, "show"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 70
    assert told.stderr.count("\n") == 1
    assert "a defect of this program, KeyError" in told.stderr
    assert "\x1b" not in told.stderr


def test_a_reader_that_stops_reading_ends_it_in_silence() -> None:
    command = [sys.executable, "-c", "from reports.cli import main; main()"]
    with subprocess.Popen(
        [*command, "show"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize("url", ["http://[x", "ftp://127.0.0.1/simple", "nonsense"])
def test_an_index_that_is_no_url_is_one_line(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", url)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    told = run("audit", "vllm==0.33.0", "--no-ledger")
    assert told.returncode in {2, 3}
    assert told.stderr.count("\n") == 1
    assert "defect" not in told.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", ["show", "plan", "--help", "audit vllm==0.33.0"])
def test_output_that_cannot_be_written_is_one_line_and_exit_3(arguments: str) -> None:
    command = [sys.executable, "-c", "from reports.cli import main; main()", *arguments.split()]
    with Path("/dev/full").open("w") as full:
        told = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert told.returncode == 3
    assert told.stderr.splitlines()[-1] == "nvfp4-matrix: cannot write: No space left on device"
    assert "Traceback" not in told.stderr


def test_words_that_the_output_cannot_hold_are_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    command = [sys.executable, "-c", "from reports.cli import main; main()", "show"]
    for form in ("markdown", "html"):
        told = subprocess.run(
            [*command, "--stack", "vllm==0.33.0", "--format", form],
            capture_output=True,
            check=False,
        )
        assert (told.returncode, told.stderr) == (0, b"")


def test_a_wrong_option_is_one_line() -> None:
    told = run("show", "--nonsense")
    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
