from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.correctness.fault import where, zero_rows

pytestmark = pytest.mark.torch


def mask(*places: tuple[int, int]) -> torch.Tensor:
    made = torch.zeros(6, 8, dtype=torch.bool)
    for row, column in places:
        made[row, column] = True
    return made


def test_a_tail_of_rows_is_called_one() -> None:
    assert where(mask((4, 0), (5, 3))) == "2 of 48, in rows 4 to 5 of 6, the tail"


def test_a_single_row_is_named() -> None:
    assert where(mask((2, 1))) == "1 of 48, in row 2 of 6"


def test_scattered_rows_are_counted() -> None:
    assert where(mask((0, 1), (3, 1))) == "2 of 48, in 2 rows of 6, from 0 to 3"


def test_columns_are_named_where_every_row_is_wrong() -> None:
    assert where(mask(*((row, 7) for row in range(6)))) == "6 of 48, in column 7 of 8"


def test_all_is_said_as_a_number() -> None:
    assert where(torch.ones(2, 3, dtype=torch.bool)) == "6 of 6"


def test_rows_of_zeros_count_where_they_should_not_be() -> None:
    want = torch.ones(4, 3)
    want[0] = 0
    got = want.clone()
    got[2] = 0
    assert zero_rows(got, want).tolist() == [2]
