from __future__ import annotations

import pytest

from probes.selection.answer import KINDS
from probes.selection.vllm_release import RELEASES, Release, adapter, known


@pytest.mark.parametrize(
    "version",
    [
        "0.12.0",
        "0.16.0",
        "0.19.1",
        "0.20.2",
        "0.27.1",
        "0.33.0",
        "0.33.0.post1",
        "0.33.1",
        "0.33.0+cu129",
    ],
)
def test_a_known_release_has_an_adapter(version: str) -> None:
    found = adapter(version)
    assert found is not None
    assert found.first <= tuple(map(int, version[:6].split("."))) < found.below


@pytest.mark.parametrize(
    "version",
    [
        "0.34.0",
        "0.11.2",
        "0.33",
        "0.33.1rc1",
        "0.33.1.dev7+gabc",
        "1.33.0",
        "local",
    ],
)
def test_any_other_is_not_guessed_at(version: str) -> None:
    assert adapter(version) is None


def test_a_message_can_name_what_is_known_without_a_seam() -> None:
    assert known() == "0.12.0 up to 0.34.0"


@pytest.mark.parametrize("release", RELEASES)
def test_an_adapter_asks_every_layer_kind_and_says_with_what(release: Release) -> None:
    assert tuple(release.kinds) == tuple(release.asked_for) == KINDS
