from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matrix.cell import Report
from reports.github.outbox import Outbox
from reports.github.post import Done
from reports.github.post import publish as carry_out
from reports.github.request import Send
from reports.github.wish import Wish
from tests.reports.conftest import build_report
from tests.reports.github.hub import Hub, HubServer
from tests.reports.github.posted import EVERY, TOKEN, Command, Publish, matter


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The hub over HTTP on loopback."""
    with HubServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def small() -> Report:
    """Two releases, two capabilities."""
    return build_report(("0.33.0", "0.32.1"), ("gemm", "moe"))


@pytest.fixture
def post(hub: Hub, small: Report, tmp_path: Path) -> Publish:
    def run(report: Report = small, wish: Wish = EVERY, send: Send = hub.send, **more: Any) -> Done:
        hub.requests.clear()
        return carry_out(
            send, wish, matter(report, **more), lambda: f"<p>{report.generated}", Outbox(tmp_path)
        )

    return run


@pytest.fixture
def publish(
    monkeypatch: pytest.MonkeyPatch, server: HubServer, command: Command, tmp_path: Path
) -> Command:
    """`publish` as octo's token, outside of Actions."""
    for name in tuple(os.environ):
        if name.startswith(("GITHUB_", "GH_", "NVFP4_MATRIX_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GITHUB_API_URL", server.base)
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda *arguments: command("publish", "--repository", "o/n", *arguments)
