from __future__ import annotations

import re

import pytest

from matrix.capability import Piece
from matrix.compiled import compiled
from matrix.configuration import Configuration
from matrix.evidence.audit import audit
from matrix.evidence.index import Index
from matrix.evidence.kernelword import names_pattern
from matrix.evidence.wheel import Wheel


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        (r"silu_(and_)?mul_cvt_fp16_to_fp4I", b"silu_mul_cvt_fp16_to_fp4I6__half"),
        (r"N4vllm(15cvt_fp16_to_fp4|24cvt_fp16_to_fp4_sf_major)I", b"_ZN4vllm15cvt_fp16_to_fp4I"),
        (r"30reshape_and_cache_nvfp4_kernelI", b"_ZN4vllm30reshape_and_cache_nvfp4_kernelI"),
    ],
)
def test_what_holds_the_kernel_holds_the_word(symbol: str, name: bytes) -> None:
    piece = Piece(piece="vllm.x", package="vllm", delivery="image", symbol=symbol)
    assert re.search(symbol.encode(), name)
    assert names_pattern([piece]).search(name)


@pytest.mark.network
def test_vllm_0_11_0_has_dense_kernels_for_sm100_and_sm120_and_none_for_sm121() -> None:
    """Disassembled by hand once: the grouped Sm100 kernel in its sm_120a image is a trap."""
    held = Configuration()
    index = Index.from_environment()
    file = index.find("vllm", "0.11.0", "x86_64")
    with Wheel.open_url(index.session, file.url, sha256=file.sha256) as wheel:
        evidence = audit(wheel, file, held.capabilities, held.gates)
    lamps = {
        (capability, gpu): compiled(evidence, capability, gpu, held.capabilities.pieces).compiled
        for capability in ("gemm", "moe")
        for gpu in (100, 120, 121)
    }
    assert lamps["gemm", 100] == "yes"
    assert lamps["gemm", 120] == "yes"
    assert lamps["gemm", 121] == "no"
    assert lamps["moe", 100] == "yes"
    assert lamps["moe", 120] != "yes"
    assert evidence.bytes_fetched < evidence.bytes_total
