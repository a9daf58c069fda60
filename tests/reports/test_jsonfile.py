from __future__ import annotations

import json

import msgspec

from matrix.cell import Report
from reports import jsonfile


def test_the_keys_are_the_public_ones(report: Report) -> None:
    document = json.loads(jsonfile.render(report))
    assert list(document) == ["generated", "targets", "stacks", "cells", "contradictions"]
    assert list(document["cells"][0]) == [
        "stack", "target", "machine", "environment", "capability", "declared", "compiled",
        "selected", "executed", "verdict", "reason", "evidence",
    ]  # fmt: skip


def test_what_is_written_reads_back_as_the_same_report(report: Report) -> None:
    for pretty in (False, True):
        written = jsonfile.render(report, pretty=pretty)
        assert msgspec.json.decode(written, type=Report) == report
        assert written.endswith(b"}\n")
