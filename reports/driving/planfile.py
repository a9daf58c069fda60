"""The plan as a file, which one job of a workflow writes and the next ones read."""

from __future__ import annotations

from pathlib import Path

import msgspec

from matrix.errors import ConfigurationError
from matrix.planned import PlanOutput


def read_if_there(path: Path) -> PlanOutput | None:
    """Read a plan; None where there is no such file: the run ended before it had planned."""
    return read(path) if path.exists() else None


def read(path: Path) -> PlanOutput:
    """Read a plan. Raises ConfigurationError where it is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=PlanOutput)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigurationError(
            f"{path}: is no plan that `plan --output` wrote ({error})"
        ) from error
