from __future__ import annotations

from itertools import pairwise

import pytest

from matrix.configuration import Configuration
from matrix.driver import DriversFile, ToolkitDriver, check, drivers, numbers, older
from matrix.errors import ConfigurationError


@pytest.mark.parametrize(
    ("driver", "needed", "answer"),
    [
        ("570", "580.65.06", True),
        ("580", "580.65.06", False),  # a branch is taken at its word
        ("580.65", "580.65.06", False),
        ("580.60", "580.65.06", True),
        ("570.86", "570.124.06", True),  # numbers, not text
        ("570.86", "570.26", False),
        ("1000.1", "610.43.02", False),
    ],
)
def test_a_driver_is_compared_as_far_as_it_is_written(
    driver: str, needed: str, *, answer: bool
) -> None:
    assert older(driver, needed) is answer


def test_a_toolkit_needs_the_driver_it_was_released_with() -> None:
    assert drivers().needed("12.8").startswith("570.")
    assert drivers().needed("13.0").startswith("580.")


def test_an_unlisted_toolkit_needs_at_least_what_the_one_before_it_needs() -> None:
    table = DriversFile(
        source="made up",
        drivers=(
            ToolkitDriver(cuda="12.9", driver="575.1"),
            ToolkitDriver(cuda="13.0", driver="580.1"),
        ),
    )
    assert table.needed("13.9") == "580.1"
    assert table.needed("11.8") == ""


def test_the_table_rises_and_covers_every_target() -> None:
    for before, after in pairwise(drivers().drivers):
        assert numbers(before.cuda) < numbers(after.cuda)
        assert numbers(before.driver) < numbers(after.driver)
    blackwell = [target for target in Configuration().targets if target.fp4]
    assert all(numbers(drivers().needed(t.first_cuda)) >= (570,) for t in blackwell)


@pytest.mark.parametrize("text", ["", "new", "58", "580.", "580.65.06.1", "v580", "580\n"])
def test_what_is_no_driver_version_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="no driver version"):
        check(text)
