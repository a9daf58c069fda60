"""`nvfp4-matrix answer`: `/probe` in a comment, read and answered by a workflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reports.text import plain

if TYPE_CHECKING:
    from reports.driving.connection import Connection
    from reports.driving.event import Commented

EXAMPLES = """\b
In a workflow that `issue_comment` starts:
  nvfp4-matrix answer --github-output                  who may, and what is asked for: stacks, targets
  nvfp4-matrix answer --plan plan.json --results kept  what came of it
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--github-output", is_flag=True, help="Add `go`, `stacks`, `targets` to $GITHUB_OUTPUT."
)
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Tell what came of this plan.",
)
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where its results are kept.",
)
def answer(*, github_output: bool, plan_file: Path | None, folder: Path | None) -> None:
    """Answer a comment that begins with `/probe`, if who wrote it may write to the repository.

    The answer is one comment, which is edited when the run has ended. Nobody else gets one.
    """
    from matrix.errors import ConfigurationError  # noqa: PLC0415
    from reports.driving import event  # noqa: PLC0415
    from reports.driving.connection import connected  # noqa: PLC0415

    if github_output == (plan_file is not None):
        raise ConfigurationError("say one of --github-output and --plan FILE")
    commented = event.read(os.environ, event.Commented)
    there = connected(os.environ)
    if plan_file is not None:
        _tell(commented, there, plan_file, folder)
        return
    _begin(commented, there)


def _begin(commented: Commented, there: Connection) -> None:
    """Hand on what is to be run, nothing where nobody asked who may."""
    from matrix.configuration import Configuration  # noqa: PLC0415
    from reports.driving.asked import Asked, asked  # noqa: PLC0415
    from reports.driving.permission import may_write  # noqa: PLC0415
    from reports.driving.reply import began, unclear  # noqa: PLC0415
    from reports.workflow import output  # noqa: PLC0415

    targets = [target.name for target in Configuration().targets]
    found = asked(commented.comment.body, targets)
    who = commented.sender.login
    if found is None or commented.action != "created" or who != commented.comment.user.login:
        click.echo("the comment is not for us")
        output({"go": "false", "stacks": "", "targets": ""})
        return
    if not may_write(there.send, there.repository, who):
        # No answer: it would let anybody make us write.
        click.echo(f"{plain(who, limit=40)} has no write access: nothing is started", err=True)
        output({"go": "false", "stacks": "", "targets": ""})
        return
    if isinstance(found, Asked):
        _post(commented, there, began(found, there.link))
        output({"go": "true", "stacks": found.stack, "targets": found.target})
    else:
        _post(commented, there, unclear(found.why))
        output({"go": "false", "stacks": "", "targets": ""})


def _tell(commented: Commented, there: Connection, plan_file: Path, folder: Path | None) -> None:
    """Answer with what came of a run."""
    from matrix.journal import Journal  # noqa: PLC0415
    from reports.driving.planfile import read_if_there  # noqa: PLC0415
    from reports.driving.reply import ended  # noqa: PLC0415

    plan = read_if_there(plan_file)
    _post(commented, there, ended(plan, Journal(folder).read(), there.link))


def _post(commented: Commented, there: Connection, text: str) -> None:
    """Let the one answer to this comment say `text`."""
    from reports.driving.speak import say  # noqa: PLC0415

    name = f"probe-{commented.comment.id}"
    click.echo(say(there, commented.issue.number, name, text))
