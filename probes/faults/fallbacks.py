"""Faults in what runs: right numbers, by other kernels than the ones that were asked for."""

from __future__ import annotations

from typing import Any, Final

import torch

from probes.faults.fault import Planted, fault

_PROBES: Final = ("availability.launched.gemm", "correctness.gemm")


class Named(Planted):
    """A `gemm` that runs under another kernel's name."""

    ran = ""

    def kernel(self, name: str) -> Any:  # type: ignore[override]
        return torch.profiler.record_function(self.ran if name == "reference_nvfp4_gemm" else name)


@fault("E", "gemm", "weight_only_fallback", probes=_PROBES)
class MarlinRan(Named):
    """The weight-only kernel of Marlin multiplies."""

    ran = "void marlin::Marlin<__nv_bfloat16, 1125899907892224l, 256, 1, 8, 8, 4, 4, 1, false>"


@fault("E", "gemm", "emulation_fallback", probes=_PROBES)
class EmulationRan(Named):
    """The operands are dequantised and multiplied in 16 bits."""

    ran = "run_nvfp4_emulations"


@fault("E", "gemm", "emulation_fallback", probes=_PROBES)
class SixteenBitsRan(Named):
    """A product in 16 bits ran, and nothing on FP4."""

    ran = "nvjet_tst_128x64_64x10_2x1_v_bz_TNN"


@fault("E", "gemm", "not_proven", probes=_PROBES)
class UnknownKernelRan(Named):
    """A kernel ran whose name tells nothing: no proof is no pass."""

    ran = "kernel_0"


@fault("F", "gemm", "setting_ignored", probes=_PROBES, also=("not_proven",))
class AnotherBackendRan(Named):
    """A native kernel ran, and another than the one that was asked for."""

    ran = "nvjet_sm100_ootst_128x64_Avec16UE4M3_Bvec16UE4M3_TNT"
