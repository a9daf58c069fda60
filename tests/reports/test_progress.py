from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrix.errors import DeliveryError
from matrix.origin import from_url
from reports.progress import told

if TYPE_CHECKING:
    from tests.conftest import Command, MakeWheel, Shelf


def test_on_a_terminal_there_are_bars_on_stderr_and_nothing_else_on_stdout(
    shelf: Shelf, make_wheel: MakeWheel
) -> None:
    url = shelf.add(make_wheel("pkg", "1.0", {"pkg/_C.so": os.urandom(300_000)}))
    shelf.hang.clear()
    master, slave = pty.openpty()
    seen: list[bytes] = []

    def watch() -> None:
        try:
            while chunk := os.read(master, 65536):
                seen.append(chunk)
                if b"pkg-1.0-py3-none-any.whl" in b"".join(seen):
                    shelf.hang.set()
        except OSError:  # Linux says EIO when the last writer is gone
            return

    thread = threading.Thread(target=watch)
    thread.start()
    code = "from reports.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "audit", url, "--json"],
        stdout=subprocess.PIPE,
        stderr=slave,
        check=True,
        timeout=60,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(slave)
    thread.join()
    os.close(master)
    assert json.loads(done.stdout)["package"] == "pkg"
    assert b"\x1b" not in done.stdout
    assert b"pkg-1.0-py3-none-any.whl" in b"".join(seen)
    assert b"\x1b[?25h" in b"".join(seen)[-40:]  # the cursor is shown again


def test_elsewhere_there_is_one_plain_line_a_wheel(
    shelf: Shelf, make_wheel: MakeWheel, command: Command, tmp_path: Path
) -> None:
    for version in ("0.32.0", "0.33.0"):
        shelf.add(make_wheel("vllm", version))
    _, _, err = command("refresh", "--ledger", tmp_path / "ledger", "--jobs", "1")
    assert err.splitlines()[1:] == [
        "[1/2] vllm-0.33.0-py3-none-any.whl: 0 of 0 MB read",
        "[2/2] vllm-0.32.0-py3-none-any.whl: 0 of 0 MB read",
    ]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DeliveryError("a\x1b[31m\nb"), "failed: a b"),
        (ValueError(), "failed: ValueError"),
    ],
)
def test_a_failure_is_told_in_one_printable_line(error: Exception, line: str) -> None:
    file = from_url("https://host/pkg-1.0-py3-none-any.whl")
    assert told(file, error) == f"pkg-1.0-py3-none-any.whl: {line}"
