"""`python -m probes REQUEST`: run the probes that a request file asks for, in this interpreter."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

_SUITE = Path(__file__).parent / "suite"


def main(arguments: list[str]) -> int:
    """Run pytest on the suite; return its exit code. What follows the request goes to pytest."""
    # Without NVML's answer torch would start the driver before the fork, and no child could use it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    os.environ.setdefault("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # A stop by a runner or a container's end is as orderly as one from the keyboard.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    import pytest  # noqa: PLC0415 - after the environment is set

    from probes.plugin import Probes  # noqa: PLC0415
    from probes.request import Request  # noqa: PLC0415

    request = Request.read(Path(arguments[0]))
    options = ["-c", os.devnull, "--rootdir", str(_SUITE), "--confcutdir", str(_SUITE)]
    options += ["-p", "no:cacheprovider", "-p", "no:faulthandler", "--import-mode=importlib"]
    options += ["-o", "addopts=", "--capture=no", *arguments[1:]]
    return int(pytest.main([*options, str(_SUITE)], plugins=[Probes(request)]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
