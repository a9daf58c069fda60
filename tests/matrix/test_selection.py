from __future__ import annotations

from typing import Any

import pytest

from matrix.configuration import Configuration
from matrix.selection import LayerChoice, LayerKind, selection

KNOWN = Configuration()


def completed(version: str, layer: LayerKind, target: str, **choice: str) -> LayerChoice:
    told: dict[str, Any] = {
        "packages": {"vllm": version},
        "machine": "x86_64",
        "cubins": {"reachable": True, "how": "stated by who asked"},
        "environments": {
            "slim": {"targets": {target: {layer: {"outcome": "chosen", **choice}}}},
        },
    }
    gpus = [KNOWN.target(target)]
    made = selection(told, gpus, KNOWN.paths.paths, "2026-11-21")
    assert made.asked == "2026-11-21"
    return made.environments["slim"].targets[target][layer]


@pytest.mark.parametrize(
    ("version", "layer", "choice", "path", "native"),
    [
        ("0.33.0", "dense_w4a4", {"selected": "CutlassNvFp4LinearKernel"}, "vllm.cutlass-dense", True),
        (
            "0.12.0",
            "dense_w4a4",
            {"selected": "cutlass", "kernel": "cutlass_scaled_fp4_mm"},
            "vllm.cutlass-dense",
            True,
        ),
        ("0.12.0", "dense_w4a4", {"selected": "cutlass"}, "", None),
        *(
            (
                version,
                "dense_w4a16",
                {"selected": "CompressedTensorsW4A16Fp4", "kernel": "apply_fp4_marlin_linear"},
                "vllm.marlin-dense",
                False,
            )
            for version in ("0.12.0", "0.19.1", "0.20.2")
        ),
        ("0.20.2", "moe_w4a16", {"selected": "CompressedTensorsW4A16Fp4"}, "", None),
    ],
)  # fmt: skip
def test_a_choice_is_a_path_by_its_name_by_the_function_called_or_by_its_scheme(
    version: str, layer: LayerKind, choice: dict[str, str], path: str, native: bool | None
) -> None:
    made = completed(version, layer, "sm121", **choice)
    assert (made.path, made.native) == (path, native)


def test_a_path_of_another_family_is_not_it() -> None:
    chosen = {"selected": "FlashInferTrtllmNvFp4LinearKernel"}
    assert completed("0.33.0", "dense_w4a4", "sm100", **chosen).path
    assert not completed("0.33.0", "dense_w4a4", "sm121", **chosen).path
