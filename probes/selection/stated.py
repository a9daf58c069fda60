"""A GPU that is stated, not there: what vLLM's platform and torch answer when they are asked for it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

_PLACE = "_current_platform"
"""Where vLLM keeps its platform, in `vllm.platforms`."""


class Gpu(NamedTuple):
    """A target as the packages see it: compute capability (12, 1), its product's name."""

    name: str
    capability: tuple[int, int]
    product: str = "stated GPU"
    shared_memory: int = 101376
    memory: int = 128 << 30

    @property
    def number(self) -> int:
        """Compute capability as a number: 12.1 is 121."""
        return self.capability[0] * 10 + self.capability[1]


def platform(gpu: Gpu) -> Any:
    """Make vLLM's own CUDA platform, with the four questions that need a driver answered by `gpu`."""
    base = importlib.import_module("vllm.platforms.cuda").CudaPlatformBase
    capability = importlib.import_module("vllm.platforms.interface").DeviceCapability

    def told(value: Any) -> Any:
        return classmethod(lambda _cls, *_args, **_kwargs: value)

    answers = {
        "get_device_capability": told(capability(*gpu.capability)),
        "get_device_name": told(gpu.product),
        "get_device_uuid": told("GPU-0"),
        "get_device_total_memory": told(gpu.memory),
        "device_count": told(1),
        "is_fully_connected": told(True),
    }
    return type("StatedCudaPlatform", (base,), answers)()


def state(gpu: Gpu) -> None:
    """State `gpu` in this process: vLLM's current platform, and torch's questions about devices.

    Modules take `current_platform` by name when they are imported: an object that stands there already
    stays, and its class changes.
    """
    platforms: Any = importlib.import_module("vllm.platforms")
    made, held = platform(gpu), vars(platforms).get(_PLACE)
    if held is None:
        setattr(platforms, _PLACE, made)
    else:
        held.__class__ = type(made)
    properties = SimpleNamespace(
        name=gpu.product,
        major=gpu.capability[0],
        minor=gpu.capability[1],
        total_memory=gpu.memory,
        multi_processor_count=48,
        shared_memory_per_block_optin=gpu.shared_memory,
        is_integrated=False,
        uuid="GPU-0",
    )
    cuda = importlib.import_module("torch").cuda
    for name, value in (
        ("is_available", True),
        ("is_initialized", False),
        ("device_count", 1),
        ("current_device", 0),
        ("get_device_capability", gpu.capability),
        ("get_device_name", gpu.product),
        ("get_device_properties", properties),
    ):
        setattr(cuda, name, _always(value))


def _always(value: Any) -> Any:
    return lambda *_args, **_kwargs: value


@contextmanager
def configured() -> Iterator[None]:
    """Stand in a default configuration of vLLM's, as a model is loaded in."""
    config = importlib.import_module("vllm.config")
    with config.set_current_vllm_config(config.VllmConfig()):
        yield
