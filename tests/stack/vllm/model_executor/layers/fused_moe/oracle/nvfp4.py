import logging
import os
from enum import Enum

from vllm.platforms import current_platform

logger = logging.getLogger(__name__)


class NvFp4MoeBackend(Enum):
    B12X = "B12X"
    VLLM_CUTLASS = "VLLM_CUTLASS"
    MARLIN = "MARLIN"


class _Experts:
    @staticmethod
    def is_supported_config(cls, config, weight, activation, layout):
        return True, None


class CutlassExpertsFp4(_Experts):
    @staticmethod
    def is_supported_config(cls, config, weight, activation, layout):
        if activation is None:
            return False, "kernel does not support quantization scheme"
        return True, None


class MarlinExperts(_Experts):
    pass


def backend_to_kernel_cls(backend):
    if backend is NvFp4MoeBackend.B12X:
        raise ImportError("no b12x")
    return [CutlassExpertsFp4 if backend is NvFp4MoeBackend.VLLM_CUTLASS else MarlinExperts]


def select_nvfp4_moe_backend(config, weight, activation):
    major = current_platform.get_device_capability().major
    if major == 9:
        raise NotImplementedError("No NvFP4 MoE backend supports the deployment configuration.")
    if major == 11:
        os.abort()
    logger.info("Using 'X' out of potential backends: ['VLLM_CUTLASS', 'MARLIN'].")
    if activation is None:
        return NvFp4MoeBackend.MARLIN, MarlinExperts
    return NvFp4MoeBackend.VLLM_CUTLASS, CutlassExpertsFp4
