"""Locks that are kept: a stack's whole tree with hashes, one file a stack, environment, machine and Python."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from matrix.errors import ConfigurationError, OutsideError
from matrix.evidence.lock import Wanted
from matrix.evidence.lockfile import Lock
from matrix.model import Model
from matrix.vocabulary import Environment
from matrix.wholefile import write

COMPILERS: Final = ("ninja",)
"""What `devel` has from the index, beside the stack: nvcc is the base image's."""

SUITE: Final = ("pytest",)
"""What the probes run on, beside torch: every image has it, so that nothing is installed for a run."""

_ASKED: Final = re.compile(r"^# asked ([0-9a-f]{16}); glibc ([0-9.]+) or newer$", re.MULTILINE)


class Ask(Model, frozen=True, kw_only=True):
    """What a lock answers: requirements, for which machine ("x86_64"), Python ("3.12") and environment.

    `built`: the hash of each wheel that comes from the wheelhouse and no index.
    """

    stack: str
    wanted: Wanted
    machine: str
    python: str
    environment: Environment
    built: dict[str, str] = {}  # noqa: RUF012 - msgspec copies an empty default

    @property
    def digest(self) -> str:
        """16 hex digits over all of it: a lock of another question is not taken."""
        content = msgspec.json.encode(self, order="deterministic")
        return hashlib.sha256(content).hexdigest()[:16]

    @property
    def filename(self) -> str:
        """Name of its file: the stack's name, with what a file's name had better not hold left out."""
        name = re.sub(r"[^A-Za-z0-9.+=_-]+", "-", self.stack)[:100].lstrip("-.")
        return f"{name}-{self.environment}-{self.machine}-cp{self.python.replace('.', '')}.txt"


def ask(
    stack: str,
    wanted: Wanted,
    *,
    machine: str,
    python: str,
    environment: Environment,
    built: Mapping[str, str] | None = None,
) -> Ask:
    """Say what is to be locked: with what the probes run on, and `devel` has ninja, too."""
    more = (*SUITE, *COMPILERS) if environment == "devel" else SUITE
    wanted = msgspec.structs.replace(wanted, requirements=(*wanted.requirements, *more))
    return Ask(
        stack=stack,
        wanted=wanted,
        machine=machine,
        python=python,
        environment=environment,
        built=dict(built or {}),
    )


def held(asked: Ask, folder: Path) -> Lock | None:
    """Return the lock that is kept, None without one or where it answers another question.

    Raises ConfigurationError for a file that cannot be read.
    """
    path = folder / asked.filename
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({type(error).__name__})") from error
    stated = _ASKED.search(text)
    if stated is None or stated[1] != asked.digest:
        return None
    return Lock(text=text, glibc=stated[2])


def found(asked: Ask, folder: Path, resolve: Callable[[], Lock], *, again: bool = False) -> Lock:
    """Return the lock that is kept, else one that `resolve` makes, which is kept then. `again`: always that.

    Raises what `resolve` raises, and OutsideError where the disk refuses.
    """
    if not again and (there := held(asked, folder)):
        return there
    made = resolve()
    text = (
        f"# {_line(asked.stack)} ({asked.environment}): CPython {asked.python} on {asked.machine}\n"
        f"# asked {asked.digest}; glibc {made.glibc} or newer\n{made.text}"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutsideError(f"{folder}: {error.strerror}") from error
    write(folder / asked.filename, text.encode())
    return Lock(text=text, glibc=made.glibc)


def _line(text: str) -> str:
    """One line, whatever a name holds: what follows a line's end would be pip's to obey."""
    return "".join(character for character in text if character.isprintable())
