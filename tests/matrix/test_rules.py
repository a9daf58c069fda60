from __future__ import annotations

from typing import Any

import msgspec
import pytest

from matrix import rules
from matrix.capability import CapabilitiesFile, Instruction, PackageRule, Piece
from matrix.configuration import Configuration
from matrix.gate import Gate, GatesFile
from matrix.rules import ANY_PACKAGE, rules_digest

GEMM = Piece(
    piece="vllm.gemm", package="vllm", delivery="image", symbol="gemm", instruction="fp4-mma"
)
MMA = Instruction(name="fp4-mma", families={"sm12x": "OMMA"}, source="a manual")
RULE = PackageRule(package="vllm", reader="kernels", versions=">=0.8.5")
KNOWN = CapabilitiesFile(
    capabilities=(),
    instructions=(MMA,),
    packages=(RULE,),
    pieces=(
        GEMM,
        Piece(piece="vllm.jit", package="vllm", delivery="jit", gate="g"),
        Piece(piece="torch.gemm", package="torch", delivery="image", symbol="gemm"),
        Piece(piece="any.gemm", package=ANY_PACKAGE, delivery="image", symbol="gemm"),
    ),
)
NO_GATES = GatesFile(gates=())


def digest(known: CapabilitiesFile = KNOWN, version: str = "0.33.0", package: str = "vllm") -> str:
    return rules_digest(package, version, known, NO_GATES)


def changed(place: int, **values: Any) -> CapabilitiesFile:
    pieces = list(KNOWN.pieces)
    pieces[place] = msgspec.structs.replace(pieces[place], **values)
    return msgspec.structs.replace(KNOWN, pieces=tuple(pieces))


@pytest.mark.parametrize(
    "values",
    [
        {"symbol": "other"},
        {"exclude": "x"},
        {"objects": "x"},
        {"families": {"sm12x": "x"}},
        {"instruction": None},
        {"piece": "vllm.other"},
        {"versions": "<0.33"},
        {"delivery": "python"},
        {"package": "torch"},
    ],
)
def test_what_a_record_is_made_by_changes_the_digest(values: dict[str, Any]) -> None:
    assert digest(changed(0, **values)) != digest()


@pytest.mark.parametrize(
    ("place", "values"),
    [
        (0, {"note": "x"}),
        (0, {"required": False}),
        (0, {"capabilities": ("gemm",)}),
        (0, {"versions": ">=0.1"}),
        (1, {"gate": "h"}),
        (2, {"symbol": "other"}),
        (3, {"symbol": "other"}),
    ],
)
def test_what_is_only_told_or_of_others_does_not(place: int, values: dict[str, Any]) -> None:
    assert digest(changed(place, **values)) == digest()


def test_the_instruction_counts_by_its_patterns_and_only_where_it_is_used() -> None:
    def with_mma(**values: Any) -> CapabilitiesFile:
        instruction = msgspec.structs.replace(MMA, **values)
        return msgspec.structs.replace(KNOWN, instructions=(instruction,))

    assert digest(with_mma(families={"sm12x": "QMMA"})) != digest()
    assert digest(with_mma(source="another")) == digest()
    assert digest(with_mma(name="unused", families={})) != digest()


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ({"reader": "source"}, False),
        ({"skip_objects": "sm90"}, False),
        ({"versions": ""}, True),
        ({"python_tags": ("cp311",)}, True),
        ({"note": "x"}, True),
    ],
)
def test_the_package_rule_counts_by_what_it_reads(values: dict[str, Any], *, same: bool) -> None:
    known = msgspec.structs.replace(KNOWN, packages=(msgspec.structs.replace(RULE, **values),))
    assert (digest(known) == digest()) is same


def test_a_package_without_a_rule_is_read_by_the_pieces_for_any() -> None:
    before = digest(package="unheard-of")
    assert digest(changed(3, symbol="other"), package="unheard-of") != before
    assert digest(changed(0, symbol="other"), package="unheard-of") == before


def test_a_gate_counts_in_the_releases_that_it_is_read_in() -> None:
    gate: Gate = Configuration().gates.gates[0]
    gate = msgspec.structs.replace(gate, package="vllm", versions=">=0.30")
    gates = GatesFile(gates=(gate,))
    assert rules_digest("vllm", "0.33.0", KNOWN, gates) != digest()
    assert rules_digest("vllm", "0.29.0", KNOWN, gates) == digest(version="0.29.0")


def test_the_edition_of_the_readers_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest()
    monkeypatch.setitem(rules.EDITIONS, "kernels", 2)
    assert digest() != before
    assert len(before) == 16
