from enum import Enum

from vllm.platforms import current_platform
from vllm.utils.flashinfer import has_flashinfer


class PlatformEnum(Enum):
    CUDA = 1


class _Kernel:
    @classmethod
    def is_supported(cls):
        return True, None

    @classmethod
    def can_implement(cls, config):
        return True, None


class FlashInferCutlassNvFp4LinearKernel(_Kernel):
    @classmethod
    def is_supported(cls):
        if current_platform.get_device_capability().major < 10:
            return False, "needs sm_100"
        return (True, None) if has_flashinfer() else (False, "FlashInfer required")


class FlashInferTrtllmNvFp4LinearKernel(_Kernel):
    pass


class RaisingLinearKernel(_Kernel):
    @classmethod
    def is_supported(cls):
        raise RuntimeError("two\nlines")


class MarlinNvFp4LinearKernel(_Kernel):
    pass


_POSSIBLE_NVFP4_KERNELS = {
    PlatformEnum.CUDA: [
        FlashInferCutlassNvFp4LinearKernel,
        RaisingLinearKernel,
        MarlinNvFp4LinearKernel,
        FlashInferTrtllmNvFp4LinearKernel,
    ]
}


def init_nvfp4_linear_kernel(use_a16=False):
    if not use_a16 and FlashInferCutlassNvFp4LinearKernel.is_supported()[0]:
        return FlashInferCutlassNvFp4LinearKernel()
    return MarlinNvFp4LinearKernel()
