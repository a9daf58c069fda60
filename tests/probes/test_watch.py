from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes import watch

pytestmark = pytest.mark.torch

QUANTIZE = "void vllm::cvt_fp16_to_fp4<__nv_bfloat16, false>"
NATIVE = "bmm_E2m1_E2m1E2m1_Fp32_sm100f"
DENSE = "nvjet_sm100_tst_64x8_64x16_4x1_v_bz_TNT"


@pytest.mark.parametrize(
    ("names", "operation", "reason"),
    [
        ((QUANTIZE, NATIVE), "gemm", ""),
        ((QUANTIZE,), "quantize", ""),
        ((QUANTIZE,), "gemm", "not_proven"),
        ((QUANTIZE, "void marlin::Marlin<>"), "moe", "weight_only_fallback"),
        ((NATIVE, "void marlin::Marlin<>"), "moe", "weight_only_fallback"),
        ((QUANTIZE, "_dequant_nvfp4", DENSE), "gemm", "emulation_fallback"),
        ((QUANTIZE, DENSE), "gemm", "emulation_fallback"),
        ((NATIVE, DENSE), "moe", ""),
        (("triton_poi_fused_add_0",), "gemm", "not_proven"),
        ((), "gemm", "not_proven"),
    ],
)
def test_a_product_is_native_where_its_own_kernel_is(
    names: tuple[str, ...], operation: str, reason: str
) -> None:
    assert watch.fallback(names, operation) == reason


def test_kernels_of_another_family_mean_that_the_backend_was_ignored() -> None:
    assert watch.verdict((NATIVE,), "gemm", "cutlass") == "setting_ignored"
    assert watch.verdict((NATIVE,), "gemm", "trtllm-gen") == ""
    assert watch.verdict((NATIVE,), "gemm", "") == ""


def test_a_name_without_a_family_ignores_no_setting() -> None:
    assert watch.verdict(("some_nvfp4_gemm",), "gemm", "cutlass") == ""


def test_a_fallback_is_told_before_an_ignored_setting() -> None:
    assert watch.verdict(("marlin",), "gemm", "cutlass") == "weight_only_fallback"


def test_on_a_cpu_kernels_have_the_names_that_a_subject_gives() -> None:
    def work() -> int:
        for name in ("reference_b", "reference_a", "reference_b"):
            with torch.profiler.record_function(name):
                torch.ones(2) + 1
        return 5

    assert watch.kernels(work, torch.device("cpu")) == (5, ("reference_b", "reference_a"))


@pytest.mark.parametrize("stops", [False, True])
def test_what_the_work_raised_stands_though_the_profiler_fails_to_stop_on_the_lost_device(
    monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    stop = torch.profiler.profile.stop

    def lost(profiler: Any) -> None:
        stop(profiler)
        if not stops:
            raise RuntimeError("CUDA error: an illegal instruction was encountered")

    def work() -> None:
        raise KeyError("charged")

    monkeypatch.setattr(torch.profiler.profile, "stop", lost)
    with pytest.raises(KeyError, match="charged"):
        watch.kernels(work, torch.device("cpu"))
