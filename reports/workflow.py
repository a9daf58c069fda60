"""What a step of a GitHub workflow hands to the next ones: lines in a file that GitHub names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matrix.errors import ConfigurationError, OutsideError

LARGEST: Final = 500_000
"""Characters of a job's outputs: GitHub takes 1 MB of UTF-16 (its documentation, "Passing information between jobs")."""


def summarise(text: str) -> None:
    """Append Markdown to the summary of the step.

    Raises ConfigurationError outside of a workflow, OutsideError where the disk refuses.
    """
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        raise ConfigurationError(
            "--summary: $GITHUB_STEP_SUMMARY names no file: is this a workflow?"
        )
    _append(Path(name), text)


def output(values: Mapping[str, str]) -> None:
    """Append outputs to the file in $GITHUB_OUTPUT.

    Raises ConfigurationError outside of a workflow, and for what is too large; OutsideError where the disk refuses.
    """
    name = os.environ.get("GITHUB_OUTPUT")
    if not name:
        raise ConfigurationError(
            "--github-output: $GITHUB_OUTPUT names no file: is this a workflow?"
        )
    size = sum(len(value) for value in values.values())
    if size > LARGEST:
        raise ConfigurationError(
            f"{size:,} characters are more than a job may hand on ({LARGEST:,}): narrow the plan with --stack or --target"
        )
    for key, value in values.items():
        if "\n" in value or "\r" in value:
            raise ValueError(f"the output {key} is more than a line")
    lines = "".join(f"{key}={value}\n" for key, value in values.items())
    _append(Path(name), lines)


def several(values: Sequence[str]) -> tuple[str, ...]:
    """Take values apart at semicolons: a workflow has one field for all of them, which may be empty."""
    return tuple(part.strip() for value in values for part in value.split(";") if part.strip())


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror}") from error
