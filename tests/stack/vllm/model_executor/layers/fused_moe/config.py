from enum import Enum
from types import SimpleNamespace


class MoEActivation(Enum):
    SILU = "silu"


class RoutingMethodType(Enum):
    Renormalize = 1


class FusedMoEParallelConfig:
    @classmethod
    def make_no_parallel(cls):
        return cls()


class FusedMoEConfig(SimpleNamespace):
    def __init__(self, intermediate_size, **more):
        super().__init__(**more)
