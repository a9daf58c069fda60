from typing import Literal

CacheDType = Literal["auto", "fp8", "nvfp4"]
