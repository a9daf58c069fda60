"""What GitHub Actions says of the job that this runs in: defaults, so that a step is one short line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from matrix.errors import ConfigurationError
from matrix.model import Model
from reports.github.request import Repository

_REPOSITORY = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)/([A-Za-z0-9._-]+)")
_PULL = re.compile(r"refs/pull/(\d+)/")


class Job(Model, frozen=True, kw_only=True):
    """`commit` is the head of a pull request, not the merge that GitHub tests: checks of that show nowhere.

    "" and None: not in such a job. `link`: the run's page. `summary`: the file of the step's summary.
    """

    repository: Repository | None = None
    commit: str = ""
    pull: int | None = None
    api: str = "https://api.github.com"
    server: str = "https://github.com"
    link: str = ""
    summary: Path | None = None


def job(environment: Mapping[str, str]) -> Job:
    """Read the job from its environment."""
    named = environment.get("GITHUB_REPOSITORY", "")
    server = environment.get("GITHUB_SERVER_URL", "") or "https://github.com"
    run = environment.get("GITHUB_RUN_ID", "")
    pulled = _PULL.match(environment.get("GITHUB_REF", ""))
    event = _event(environment.get("GITHUB_EVENT_PATH", ""))
    number = int(pulled[1]) if pulled else _held(event, "pull_request", "number")
    # A run that another one set off (workflow_run) is of that one's commit.
    commit = _held(event, "pull_request", "head", "sha") or _held(event, "workflow_run", "head_sha")
    summary = environment.get("GITHUB_STEP_SUMMARY", "")
    return Job(
        repository=repository(named) if named else None,
        commit=str(commit or environment.get("GITHUB_SHA", "")),
        pull=number if isinstance(number, int) and number > 0 else None,
        api=environment.get("GITHUB_API_URL", "") or "https://api.github.com",
        server=server,
        link=f"{server}/{named}/actions/runs/{run}" if named and run.isdigit() else "",
        summary=Path(summary) if summary else None,
    )


def repository(text: str) -> Repository:
    """Read `owner/name`. Raises ConfigurationError for anything else."""
    found = _REPOSITORY.fullmatch(text)
    if found is None or found[2] in (".", ".."):
        raise ConfigurationError(f"repository {text!r}: it is written owner/name")
    return Repository(owner=found[1], name=found[2])


def _held(event: Any, *names: str) -> Any:
    """Give what an event holds there; None where it has no such thing."""
    for name in names:
        event = event.get(name) if isinstance(event, dict) else None
    return event


def _event(path: str) -> dict[str, Any]:
    """Read the event that started the job; anything odd is none."""
    try:
        document = msgspec.json.decode(Path(path).read_bytes()) if path else {}
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
