from types import SimpleNamespace

from torch import version

bfloat16 = "bfloat16"
cuda = SimpleNamespace()
