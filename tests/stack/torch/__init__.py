from types import SimpleNamespace

from torch import nn, version

bfloat16 = "bfloat16"
cuda = SimpleNamespace()
