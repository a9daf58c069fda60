"""The plan as a file, which one job of a workflow writes and the next ones read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from matrix.errors import ConfigurationError
from matrix.planned import PlanOutput


def read_if_there(path: Path) -> PlanOutput | None:
    """Read a plan; None where there is no such file: the run ended before it had planned."""
    return read(path) if path.exists() else None


def digest(content: bytes) -> str:
    """Return the SHA-256 of a plan's file, by which a later job knows it again."""
    return hashlib.sha256(content).hexdigest()


def read(path: Path, expected: str = "") -> PlanOutput:
    """Read a plan. Raises ConfigurationError where it is none, or not the one that is `expected` by its digest."""
    try:
        content = path.read_bytes()
        if expected and digest(content) != expected:
            raise ConfigurationError(f"{path}: is not the plan that was made; somebody changed it")
        return msgspec.json.decode(content, type=PlanOutput)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigurationError(
            f"{path}: is no plan that `plan --output` wrote ({error})"
        ) from error
