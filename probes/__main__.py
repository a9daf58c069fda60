"""`python -m probes REQUEST`: run the probes that a request file asks for, in this interpreter."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from pathlib import Path

from probes.apart import DEFECT
from probes.heirs import die_with
from probes.lines import DISK

_SUITE = Path(__file__).parent / "suite"
_REFUSED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What a disk says that takes no more; a library that cannot be loaded is an OSError, too."""


def main(arguments: list[str]) -> int:
    """Run pytest on the suite; return its exit code. What follows the request goes to pytest."""
    # A stop by a runner or a container's end is as orderly as one from the keyboard, and so is the end of who began this.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    die_with(os.getppid(), signal.SIGTERM)
    # Python would end with 1 by itself, which is pytest's for "some did not pass".
    try:
        code = _suite(arguments)
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - such as a torch that cannot be imported
        # The log is on the same disk as the results, and may be the first to be refused.
        full = isinstance(error, OSError) and error.errno in _REFUSED
        code = DISK if full else DEFECT
        _told()
    return code


def _told() -> None:
    """Print what was raised, where that can be: a stream that cannot be written would fail once more at the end."""
    try:
        traceback.print_exc()
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.dup2(nowhere, sys.stderr.fileno())


def _suite(arguments: list[str]) -> int:
    # Without NVML's answer torch would start the driver before the fork, and no child could use it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # Meant for tests of the user's own: `-x` would end the run at the first probe that does not pass.
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(name, None)
    import pytest  # noqa: PLC0415 - after the environment is set

    from probes.plugin import Probes  # noqa: PLC0415
    from probes.request import Request  # noqa: PLC0415

    file = Path(arguments[0]).absolute()
    # Beside the request: whoever wrote it removes what a suite that was killed leaves.
    probes = Probes(Request.read(file), file.parent)
    options = ["-c", os.devnull, "--rootdir", str(_SUITE), "--confcutdir", str(_SUITE)]
    options += ["-p", "no:cacheprovider", "-p", "no:faulthandler", "--import-mode=importlib"]
    options += ["-o", "addopts=", "--capture=no", *arguments[1:]]
    return int(pytest.main([*options, str(_SUITE)], plugins=[probes]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
