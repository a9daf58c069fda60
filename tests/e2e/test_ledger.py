"""The ledger against the index: what it says of a wheel is what a reader of today finds in it."""

from __future__ import annotations

import os
import random
import secrets

import msgspec
import pytest

from matrix.configuration import Configuration
from matrix.evidence.index import Index
from matrix.evidence.record import WheelEvidence
from matrix.ledger import Ledger
from matrix.measurement import Watch, measure
from matrix.rules import rules_digest

pytestmark = [pytest.mark.network, pytest.mark.e2e]

SEED = int(os.environ.get("NVFP4_MATRIX_SEED") or secrets.randbelow(10**6))
"""Draws the wheels. Set the variable to the number in a failed test's name to draw the same again."""

SMALL = 200_000_000
CHEAP = 8
"""Of vLLM's wheels, which are all large, so many of those that were the cheapest to read are drawn from."""

TIED = ("measured", "bytes_fetched", "tools")
"""What may differ between two measurements of one wheel."""


def draw(configuration: Configuration) -> list[WheelEvidence]:
    """Draw one vLLM wheel and two others that are small or read by a few members."""
    readers = {rule.package: rule.reader for rule in configuration.capabilities.packages}
    records = [
        record
        for record in Ledger().read()
        if record.rules
        == rules_digest(
            record.package, record.version, configuration.capabilities, configuration.gates
        )
    ]
    first = [record for record in records if record.package == "vllm"]
    first = sorted(first, key=lambda record: record.bytes_fetched)[:CHEAP]
    others = [
        record
        for record in records
        if record.package != "vllm"
        and (record.bytes_total < SMALL or readers.get(record.package) != "kernels")
    ]
    if not first or len(others) < 2:
        pytest.skip("the ledger holds too few records by today's rules; refresh --outdated")
    drawn = random.Random(SEED)
    return [drawn.choice(first), *drawn.sample(others, 2)]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("seed", [SEED], ids=[f"NVFP4_MATRIX_SEED={SEED}"])
def test_a_wheel_measured_afresh_is_what_the_ledger_says(seed: int, which: int) -> None:
    configuration = Configuration()
    record = draw(configuration)[which]
    index = Index.from_environment()
    listed = {file.filename: file for file in index.files(record.package)}
    assert record.filename in listed, f"the index has {record.filename} no more (seed {seed})"
    fresh = measure(
        index.session,
        configuration.capabilities,
        configuration.gates,
        listed[record.filename],
        Watch(),
    )
    told, held = (
        {key: value for key, value in msgspec.to_builtins(each).items() if key not in TIED}
        for each in (fresh, record)
    )
    assert told == held
