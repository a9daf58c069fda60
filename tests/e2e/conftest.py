"""What several of these tests stand on, and what is made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from matrix.evidence.fresh import fresh

RELEASE = "0.33.0"


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """The real vLLM, 9 GB."""
    with fresh(f"vllm=={RELEASE}") as made:
        yield made.python.parents[1]
