"""A folder of kept selections: found by release and CPU, and a damaged one is told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from matrix.errors import ConfigurationError
from matrix.selection import Cubins, Selection
from matrix.selections import FOLDER, Selections

MADE = Selection(
    packages={"vllm": "0.33.0"},
    machine="x86_64",
    elsewhere=(),
    cubins=Cubins(reachable=True, how="stated"),
    asked_for={},
    environments={},
    contradictions=(),
    seconds={},
)


def keep(folder: Path, name: str, content: bytes) -> Path:
    place = folder / "vllm" / f"{name}.json"
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content)
    return place


def test_a_selection_is_found_by_release_and_cpu(tmp_path: Path) -> None:
    keep(tmp_path, "0.33.0-x86_64", msgspec.json.encode(MADE))
    kept = Selections(tmp_path)
    assert kept.find("vllm", "0.33.0", "x86_64") == MADE
    assert kept.find("vllm", "0.33.0", "aarch64") is None
    assert kept.find("vllm", "0.32.0", "x86_64") is None
    assert kept.find("torch", "0.33.0", "x86_64") is None


def test_a_folder_that_is_not_there_holds_none(tmp_path: Path) -> None:
    assert Selections(tmp_path / "none").find("vllm", "0.33.0", "x86_64") is None


def test_a_file_is_read_when_its_release_is_asked_for_and_only_once(tmp_path: Path) -> None:
    keep(tmp_path, "0.32.0-x86_64", b"damaged")
    place = keep(tmp_path, "0.33.0-x86_64", msgspec.json.encode(MADE))
    kept = Selections(tmp_path)
    first = kept.find("vllm", "0.33.0", "x86_64")
    place.unlink()
    assert kept.find("vllm", "0.33.0", "x86_64") is first


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"packages": {}}', b'{"surprise": 1}'])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    place = keep(tmp_path, "0.33.0-x86_64", content)
    with pytest.raises(ConfigurationError, match="delete it and ask again") as told:
        Selections(tmp_path).find("vllm", "0.33.0", "x86_64")
    assert str(told.value).startswith(f"{place}: ")


@pytest.mark.parametrize("name", ["0.33.1-x86_64", "0.33.0-aarch64"])
def test_a_file_under_another_name_is_refused(tmp_path: Path, name: str) -> None:
    keep(tmp_path, name, msgspec.json.encode(MADE))
    version, _, machine = name.partition("-")
    with pytest.raises(ConfigurationError, match="is about another release"):
        Selections(tmp_path).find("vllm", version, machine)


def test_every_selection_of_the_ledger_can_be_read() -> None:
    names = [path.stem for path in FOLDER.glob("vllm/*.json")]
    assert "0.33.0-x86_64" in names
    for name in names:
        version, _, machine = name.rpartition("-")
        found = Selections().find("vllm", version, machine)
        assert found
        assert found.asked
