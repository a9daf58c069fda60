"""A release in a fresh environment, for as long as it is asked: uv installs it, and nothing of it stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, NamedTuple

import msgspec

from matrix.errors import NotFoundError, OutsideError, ToolError
from matrix.evidence.lock import telling, variables
from matrix.evidence.pipconfig import read_pip_config

ROOM: Final = 14 * 10**9
"""Bytes that must be free: vLLM takes 9 to 10 GB in uv's cache, linked from there; and what is on its way."""

OVERRIDES: Final = ("certifi",)
"""Requirements that are freed of their versions: an index may lag them, and no choice of a kernel asks them."""

CONSTRAINTS: Final = ("cuda-python>=12.8",)
"""Where it is required at all: without a bound uv goes back to releases that fit any cuda-bindings."""

ATTEMPTS: Final = 3
"""How often the network is tried. What has no solution is not tried again."""

_PAUSE: Final = 5.0
_QUIET: Final = ("--no-config", "--quiet", "--color", "never", "--no-python-downloads")
_UNSOLVED: Final = "No solution found"


class Fresh(NamedTuple):
    """An environment that is there for now: its Python, the bytes it takes, the seconds it took."""

    python: Path
    size: int
    seconds: float


@contextmanager
def fresh(
    requirement: str,
    environment: Mapping[str, str] | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[Fresh]:
    """Install `requirement` ("vllm==0.33.0") for the Python that runs this; it is removed at the end.

    Indexes, proxy and certificates are pip's; its folders of wheels are left out, since what lies there
    need not be what was published. uv's cache is thrown away too, unless UV_CACHE_DIR names
    one, which is then used and kept. It lies in TMPDIR, else beside uv's usual cache: `/tmp` may be
    memory. Raises OutsideError where the disk has less than ROOM free, NotFoundError where nothing
    fits the requirement, ToolError where uv fails otherwise.
    """
    given = dict(os.environ if environment is None else environment)
    config = msgspec.structs.replace(read_pip_config(given), find_links=())
    parent = _parent(given)
    settings = variables(config, given)
    with _folder(parent) as folder:
        settings.setdefault("UV_CACHE_DIR", str(folder / "cache"))
        _room(folder, Path(settings["UV_CACHE_DIR"]))
        python = folder / "stack" / "bin" / "python"
        _files(folder)
        began = time.monotonic()
        made = ["venv", "--no-project", "--python", sys.executable, str(folder / "stack")]
        _uv([*made, *_QUIET], folder, settings)
        command = ["pip", "install", "--python", str(python), requirement, *_QUIET]
        command += ["--override", "overrides.txt", "--constraint", "constraints.txt"]
        command += ["--index-strategy", "unsafe-best-match"]  # as pip does
        command += [] if config.indexes else ["--no-index"]
        _install(command, folder, settings, wait)
        yield Fresh(python, _size(folder / "stack"), time.monotonic() - began)


@contextmanager
def _folder(parent: Path) -> Iterator[Path]:
    """Make a folder and remove it at the end, whatever happens: a second Ctrl-C waits for that."""
    folder = Path(mkdtemp(prefix="nvfp4-matrix-", dir=parent))
    try:
        yield folder
    finally:
        stopped: BaseException | None = None
        while folder.exists():
            try:
                shutil.rmtree(folder)
            except (KeyboardInterrupt, SystemExit) as error:
                stopped = error
            except OSError as error:
                raise OutsideError(f"{folder} cannot be removed: {error.strerror}") from error
        if stopped:
            raise stopped


def _install(
    command: Sequence[str],
    folder: Path,
    settings: Mapping[str, str],
    wait: Callable[[float], None],
) -> None:
    for attempt in range(1, ATTEMPTS):
        try:
            return _uv(command, folder, settings)
        except ToolError:
            wait(attempt * _PAUSE)
    return _uv(command, folder, settings)


def _uv(command: Sequence[str], folder: Path, settings: Mapping[str, str]) -> None:
    from uv import find_uv_bin  # noqa: PLC0415 - only an installation needs it

    try:
        done = subprocess.run(  # noqa: S603 - uv's own program, arguments made here
            [find_uv_bin(), *command],
            cwd=folder,
            env=dict(settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise ToolError(f"uv cannot be run ({error}): install this program again") from error
    if done.returncode < 0:
        raise ToolError(f"uv was ended: {signal.strsignal(-done.returncode)}")
    if _UNSOLVED in done.stderr:
        raise NotFoundError(f"uv cannot install it: {telling(done.stderr)}")
    if done.returncode:
        raise ToolError(f"uv: {telling(done.stderr)}")


def _parent(environment: Mapping[str, str]) -> Path:
    told = environment.get("TMPDIR")
    caches = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    parent = Path(told) if told else Path(caches) / "nvfp4-matrix"
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutsideError(f"{parent}: {error.strerror}") from error
    return parent


def _room(*folders: Path) -> None:
    """Check every disk that is written to. Raises OutsideError naming the one that is too full."""
    for folder in folders:
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        free = shutil.disk_usage(there).free
        if free < ROOM:
            raise OutsideError(
                f"{there} has {free / 1e9:.1f} GB free, and an installed vLLM needs {ROOM / 1e9:.0f} GB: "
                "make room, or name another disk by TMPDIR"
            )


def _files(folder: Path) -> None:
    for name, lines in (("overrides.txt", OVERRIDES), ("constraints.txt", CONSTRAINTS)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _size(folder: Path) -> int:
    """Return the bytes of every file, hard links to a cache included."""
    return sum(
        os.lstat(os.path.join(root, name)).st_size  # noqa: PTH118 - 60,000 files
        for root, _, names in os.walk(folder)
        for name in names
    )
