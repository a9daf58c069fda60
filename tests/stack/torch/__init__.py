from types import SimpleNamespace

from torch import nn, version

bfloat16 = "bfloat16"
uint8 = "uint8"
device = str
cuda = SimpleNamespace()
