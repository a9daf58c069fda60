"""What `gates.yaml` must hold so that paths and pieces can refer to it."""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec
import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import matrix
from matrix.gate import Gate, GatesFile

FOLDER = Path(matrix.__file__).parent
FILE = msgspec.convert(yaml.safe_load((FOLDER / "gates.yaml").read_text("utf-8")), GatesFile)
RELEASES = {
    "vllm": ("0.8.5", "0.11.0", "0.12.0", "0.16.0", "0.19.1", "0.20.2", "0.24.0", "0.33.0"),
    "flashinfer-python": ("0.5.3", "0.6.6", "0.6.13", "0.7.2.post1"),
}


def test_every_gate_that_a_path_names_is_there() -> None:
    paths = yaml.safe_load((FOLDER / "paths.yaml").read_text("utf-8"))["paths"]
    wanted = {path["gate"] for path in paths if path.get("gate")}
    assert wanted <= {gate.gate for gate in FILE.gates}


@pytest.mark.parametrize("gate", FILE.gates, ids=lambda gate: f"{gate.gate}{gate.versions}")
def test_a_gate_asks_one_thing_and_its_given_is_python(gate: Gate) -> None:
    assert (gate.python is None) is not (gate.predicate is None)
    assert gate.capabilities
    SpecifierSet(gate.versions)
    if gate.python is not None:
        for text in gate.python.given:
            ast.parse(text, mode="eval")


@pytest.mark.parametrize("package", RELEASES)
def test_no_two_entries_answer_for_one_gate_in_one_release(package: str) -> None:
    for release in RELEASES[package]:
        held = [
            gate.gate
            for gate in FILE.gates
            if gate.package == package and Version(release) in SpecifierSet(gate.versions)
        ]
        assert len(held) == len(set(held))
        assert held
