from __future__ import annotations

from typing import get_args

from matrix.result import Unit
from matrix.verdict import Status
from matrix.vocabulary import Mark, Reason
from probes.finding import MARKS, STATUSES, UNITS
from probes.reason import WORDS


def test_every_reason_of_a_probe_is_one_of_the_matrix() -> None:
    assert set(get_args(Reason)) >= WORDS


def test_statuses_are_the_matrix_s() -> None:
    assert set(STATUSES) == set(get_args(Status))


def test_marks_and_units_of_a_finding_are_the_matrix_s() -> None:
    assert set(MARKS) == set(get_args(Mark))
    assert set(get_args(Unit)) - {"line"} == set(UNITS)
