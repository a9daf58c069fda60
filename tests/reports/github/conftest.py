from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from matrix.cell import Report
from tests.reports.conftest import build_report
from tests.reports.github.hub import Hub, HubServer


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
