from __future__ import annotations

from matrix.declared import declared
from matrix.gate import GateAnswer


def gate(slim: str, devel: str, *, native: bool = True) -> GateAnswer:
    return GateAnswer(
        gate="vllm.x",
        native=native,
        capabilities=("gemm",),
        slim={"121": slim},  # type: ignore[dict-item]  # any word
        devel={"121": devel},  # type: ignore[dict-item]
    )


def test_one_backend_that_says_yes_is_enough() -> None:
    assert declared([gate("no", "no"), gate("no", "yes")], "gemm", 121) == "yes"


def test_an_environment_is_asked_by_itself() -> None:
    assert declared([gate("no", "yes")], "gemm", 121, ["slim"]) == "no"


def test_a_doubt_beside_a_no_stays_a_doubt() -> None:
    assert declared([gate("no", "unknown")], "gemm", 121) == "unknown"


def test_weight_only_is_no_claim() -> None:
    assert declared([gate("yes", "yes", native=False)], "gemm", 121) == "unknown"


def test_a_capability_or_gpu_that_no_gate_speaks_of_is_unknown() -> None:
    assert declared([gate("yes", "yes")], "moe", 121) == "unknown"
    assert declared([gate("yes", "yes")], "gemm", 122) == "unknown"
