def _mm_fp4():
    raise RuntimeError("no GPU here")


def _supported(backend, capability):
    if backend == "cudnn":
        raise ValueError("no cuDNN")
    return backend == "cutlass" and capability >= 100


mm_fp4 = _mm_fp4
mm_fp4.is_backend_supported = _supported


def cutlass_fused_moe():
    raise RuntimeError("no GPU here")
