"""`nvfp4-matrix approve`: a maintainer's label on a pull request lets its stacks be probed, at one commit, once."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from matrix.errors import ConfigurationError
from reports.text import plain

if TYPE_CHECKING:
    from reports.driving.approval import Approval
    from reports.driving.connection import Connection
    from reports.driving.event import Pulled

STACKS: Final = "matrix/stacks.yaml"
"""The one file that is taken from a pull request; it is data, and nothing of it is run."""

EXAMPLES = """\b
In a workflow that `pull_request_target` starts (labeled, synchronize):
  nvfp4-matrix approve --stacks stacks.yaml --github-output  who approves which commit
  nvfp4-matrix approve --plan plan.json --results kept       what came of it
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--stacks",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the pull request's stacks.yaml is written to.",
)
@click.option("--github-output", is_flag=True, help="Add `commit` to $GITHUB_OUTPUT.")
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Tell the pull request what came of this plan.",
)
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where its results are kept.",
)
def approve(
    *, stacks: Path | None, github_output: bool, plan_file: Path | None, folder: Path | None
) -> None:
    """Find out whether a label approves a commit, by whom, and use it up.

    Of the pull request only its matrix/stacks.yaml is read, at the commit that was labelled; its code never runs.
    """
    from reports.driving import event  # noqa: PLC0415
    from reports.driving.connection import connected  # noqa: PLC0415

    if (stacks is None) == (plan_file is None):
        raise ConfigurationError("say one of --stacks FILE and --plan FILE")
    pulled = event.read(os.environ, event.Pulled)
    there = connected(os.environ)
    if plan_file is not None:
        _tell(pulled, there, plan_file, folder)
    elif stacks is not None:
        _approve(pulled, there, stacks, github_output=github_output)


def _approve(pulled: Pulled, there: Connection, stacks: Path, *, github_output: bool) -> None:
    from reports.driving.approval import approval  # noqa: PLC0415
    from reports.workflow import output  # noqa: PLC0415

    found = approval(pulled)
    used = found.remove and _remove(there, pulled.pull_request.number)
    commit = found.commit if found.commit and used and _may(there, found) else ""
    if found.why:
        click.echo(f"nothing is approved: {plain(found.why)}", err=True)
    if commit:
        _fetch(there, commit, stacks)
        click.echo(f"{plain(found.who, limit=40)} approves {commit}")
    if github_output:
        output({"commit": commit})


def _tell(pulled: Pulled, there: Connection, plan_file: Path, folder: Path | None) -> None:
    """Tell the pull request what came of a run."""
    from matrix.journal import Journal  # noqa: PLC0415
    from reports.driving.planfile import read_if_there  # noqa: PLC0415
    from reports.driving.reply import ended  # noqa: PLC0415
    from reports.driving.speak import say  # noqa: PLC0415
    from reports.markdown import span  # noqa: PLC0415

    pull = pulled.pull_request
    text = ended(read_if_there(plan_file), Journal(folder).read(), there.link)
    click.echo(say(there, pull.number, "proposed", f"Of {span(pull.head.sha)}: {text}"))


def _may(there: Connection, found: Approval) -> bool:
    """Ask whether who put the label on may write: somebody with the role Triage can label, and may not."""
    from reports.driving.permission import may_write  # noqa: PLC0415

    if may_write(there.send, there.repository, found.who):
        return True
    who = plain(found.who, limit=40)
    click.echo(f"nothing is approved: {who} has no write access", err=True)
    return False


def _remove(there: Connection, number: int) -> bool:
    """Take the label off before anything else; say whether it was still there: who repeats a job finds it used.

    Raises what a refusal means where it stays: then nothing is approved.
    """
    from reports.driving.approval import LABEL  # noqa: PLC0415
    from reports.github.refusal import refusal  # noqa: PLC0415
    from reports.github.request import Request  # noqa: PLC0415

    path = there.repository.path("issues", number, "labels", LABEL)
    asked = Request(method="DELETE", path=path)
    answer = there.send(asked)
    if answer.good:
        return True
    if answer.status == 404:  # noqa: PLR2004 - it is off already
        click.echo("the label is off already: used, or taken back", err=True)
        return False
    raise refusal("label", asked, answer)


def _fetch(there: Connection, commit: str, file: Path) -> None:
    """Write down the stacks of a commit. Raises what a refusal means, ConfigurationError where it has none."""
    from matrix.wholefile import write  # noqa: PLC0415
    from reports.github.refusal import ask  # noqa: PLC0415
    from reports.github.request import Request  # noqa: PLC0415

    path = there.repository.path("contents") + f"/{STACKS}?ref={commit}"
    document = ask(there.send, "stacks", Request(method="GET", path=path)).document
    try:
        content = base64.b64decode(document["content"]) if isinstance(document, dict) else None
    except (KeyError, TypeError, ValueError):
        content = None
    if content is None:
        raise ConfigurationError(
            f"{STACKS} of {commit} is no file that GitHub shows the content of"
        )
    write(file, content)
