from vllm.platforms import current_platform

kNvfp4Static = "nvfp4 static"
kNvfp4Dynamic = "nvfp4 dynamic"


def cutlass_fp4_supported():
    return current_platform.get_device_capability() >= (10, 0)
