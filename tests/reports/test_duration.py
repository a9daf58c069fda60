from __future__ import annotations

import pytest

from reports.duration import told


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (8, "8 s"),
        (59.4, "59 s"),
        (60, "1.0 min"),
        (150, "2.5 min"),
        (2400, "40 min"),
        (3600, "1.0 h"),
        (90_000, "25 h"),
    ],
)
def test_as_many_digits_as_matter(seconds: float, words: str) -> None:
    assert told(seconds) == words
