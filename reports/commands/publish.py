"""`nvfp4-matrix publish`: the matrix, posted where people look."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from matrix.errors import ConfigurationError
from matrix.vocabulary import ENVIRONMENTS, MACHINES, Environment
from reports.clock import now
from reports.executed import kept
from reports.text import plain

if TYPE_CHECKING:
    from matrix.knowledge import Knowledge
    from reports.github.client import Client
    from reports.github.content import Told
    from reports.github.job import Job
    from reports.github.post import Done
    from reports.github.redact import Redactor
    from reports.github.request import Repository
    from reports.github.wish import Matter, Wish

EXAMPLES = """\b
Examples:
  nvfp4-matrix publish --check --comment --summary --require gemm    in a workflow: all else is known
  nvfp4-matrix publish --repository me/rigs --issue 7 --comment      a tracking issue
  nvfp4-matrix publish --repository me/rigs --branch gh-pages        page, JSON and badges
  nvfp4-matrix publish --repository me/rigs --commit 4f2a… --status --dry-run

\b
Who posts, from the environment: GITHUB_TOKEN (or NVFP4_MATRIX_TOKEN, GH_TOKEN), or an app with
NVFP4_MATRIX_APP_ID and NVFP4_MATRIX_APP_PRIVATE_KEY (or …_PRIVATE_KEY_FILE).
"""


@click.command(epilog=EXAMPLES)
@click.option("--repository", "named", metavar="OWNER/NAME", help="Where; in Actions this one.")
@click.option(
    "--commit", metavar="SHA", help="For --check and --status; in Actions the one that runs."
)
@click.option("--pull", type=click.IntRange(1), metavar="N", help="Comment on a pull request.")
@click.option("--issue", type=click.IntRange(1), metavar="N", help="Comment on an issue.")
@click.option(
    "--require",
    "required",
    multiple=True,
    metavar="CAPABILITY",
    help="Must work; exit code 1 if not.",
)
@click.option("--check", is_flag=True, help="A check run on the commit.")
@click.option(
    "--status", is_flag=True, help="A commit status: for tokens that may not create check runs."
)
@click.option("--comment", is_flag=True, help="One comment, edited in place.")
@click.option("--summary", is_flag=True, help="The job's summary (GITHUB_STEP_SUMMARY).")
@click.option(
    "--before",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="state.json of the branch, which a summary alone is compared with.",
)
@click.option("--branch", metavar="NAME", default="", help="A branch with page, JSON and badges.")
@click.option("--asset", "tag", metavar="TAG", default="", help="The page as a file of a release.")
@click.option("--stack", "stacks", multiple=True, metavar="STACK", help="Name, or a range of them.")
@click.option("--target", "targets", multiple=True, metavar="TARGET", help="sm120, sm121, …")
@click.option("--machine", "machines", multiple=True, type=click.Choice(MACHINES), help="CPU.")
@click.option(
    "--environment", "environments", multiple=True, type=click.Choice(ENVIRONMENTS),
    help="slim: what pip installs; devel: plus nvcc and ninja. --require is of slim unless named.",
)  # fmt: skip
@click.option(
    "--capability", "capabilities", multiple=True, metavar="CAPABILITY", help="gemm, moe, …"
)
@click.option(
    "--all", "everything", is_flag=True, help="Every capability and target in the texts, too."
)
@click.option("--link", metavar="URL", help="Where all of it can be seen.")
@click.option(
    "--name",
    default="nvfp4-matrix",
    show_default=True,
    help="Tells several matrices of one place apart.",
)
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="What was executed, if not from the default folder.",
)
@click.option(
    "--outbox",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where what could not be posted waits.",
)
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="To wait for GitHub in all.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be sent; send nothing but reads.")
def publish(
    *,
    named: str | None,
    commit: str | None,
    pull: int | None,
    issue: int | None,
    required: tuple[str, ...],
    check: bool,
    status: bool,
    comment: bool,
    summary: bool,
    before: Path | None,
    branch: str,
    tag: str,
    stacks: tuple[str, ...],
    targets: tuple[str, ...],
    machines: tuple[str, ...],
    environments: tuple[Environment, ...],
    capabilities: tuple[str, ...],
    everything: bool,
    link: str | None,
    name: str,
    folder: Path | None,
    outbox: Path | None,
    patience: float,
    dry_run: bool,
) -> None:
    """Post the matrix on GitHub: what changed since the last post first, then all of it.

    Run twice with the same content it changes nothing. Texts show what `show` shows; the page and the JSON hold
    everything. --require judges the stacks that are named, or else the newest one.
    """
    from reports.github.admissible import admit  # noqa: PLC0415
    from reports.github.choice import Filter, choose  # noqa: PLC0415
    from reports.github.job import job, repository  # noqa: PLC0415
    from reports.github.pages import earlier  # noqa: PLC0415
    from reports.github.redact import Redactor  # noqa: PLC0415
    from reports.github.stackfile import in_checkout  # noqa: PLC0415
    from reports.github.wish import NOWHERE, Wish, tell  # noqa: PLC0415
    from reports.workflow import several  # noqa: PLC0415

    required = several(required)
    here = job(os.environ)
    number = _number(here, comment=comment, pull=pull, issue=issue)
    posts = bool(check or status or number or branch or tag)
    if not posts and not summary:
        raise ConfigurationError(
            "say what to post: --check, --comment, --status, --summary, --branch NAME or --asset TAG"
        )
    at = repository(named) if named else here.repository
    if at is None and posts:
        raise ConfigurationError("--repository OWNER/NAME: needed outside of GitHub Actions")
    commit = (commit or here.commit) if check or status else None
    admit(commit=commit, branch=branch, link=link, name=name)
    if summary and here.summary is None and not dry_run:
        raise ConfigurationError(
            "--summary: GITHUB_STEP_SUMMARY is not set; GitHub Actions sets it"
        )
    redactor = Redactor()
    client = _client(at, here, redactor, patience, dry=dry_run) if at and posts else None
    knowledge, headline = _known()
    wanted = Filter(
        stacks=stacks, targets=targets, machines=machines, environments=environments,
        capabilities=capabilities, everything=everything,
    )  # fmt: skip
    matter = choose(
        knowledge, kept(folder), wanted, required, generated=now(), redactor=redactor
    )  # fmt: skip
    if at and link is None:
        link = f"{here.server}/{at.owner}/{at.name}/tree/{branch}" if branch else here.link or None
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())
    file, lines = in_checkout(root, (stack.name for stack in matter.whole.stacks))
    wish = Wish(
        repository=at or NOWHERE, name=name, commit=commit or "", check=check, status=status,
        number=number, branch=branch, tag=tag, link=link, headline=headline, stack_file=file,
        lines=lines,
    )  # fmt: skip
    done = _post(wish, matter, client, redactor, outbox or _outbox(), dry=dry_run)
    if summary:
        last = done.before.branch or done.before.comment or earlier(before)
        _summarise(tell(wish, matter, last), here, name, dry=dry_run)
    if code := _complain(done, redactor, outbox or _outbox()):
        sys.exit(code)
    if matter.required.conclusion == "failure":
        click.echo(f"nvfp4-matrix: {plain(matter.required.sentence)}", err=True)
        sys.exit(1)


def _number(here: Job, *, comment: bool, pull: int | None, issue: int | None) -> int | None:
    """Say which issue or pull request is commented on; None: none."""
    if pull and issue:
        raise ConfigurationError("--pull and --issue: one of them; run it once for each")
    if number := pull or issue:
        return number
    if comment and here.pull is None:
        raise ConfigurationError("--comment: on what? --pull N or --issue N")
    return here.pull if comment else None


def _client(
    at: Repository, here: Job, redactor: Redactor, patience: float, *, dry: bool
) -> Client | None:
    """Log in. None in a dry run of somebody without a token."""
    from reports.github.credential import credential  # noqa: PLC0415

    who = credential(os.environ)
    if who is None:
        if dry:
            click.echo(
                "no token is set: nothing is read, and nothing is taken to be there", err=True
            )
            return None
        raise ConfigurationError(
            "no token: set GITHUB_TOKEN (in a workflow, env: GITHUB_TOKEN: ${{ github.token }}), "
            "or NVFP4_MATRIX_APP_ID and NVFP4_MATRIX_APP_PRIVATE_KEY"
        )
    from reports.github.client import Client  # noqa: PLC0415
    from reports.github.etags import Etags  # noqa: PLC0415

    etags = Etags(_place("XDG_CACHE_HOME", ".cache") / "github-etags.json")
    return Client(who, at, api=here.api, etags=etags, redactor=redactor, patience=patience)


def _known() -> tuple[Knowledge, tuple[str, ...]]:
    from matrix.knowledge import Knowledge  # noqa: PLC0415

    knowledge = Knowledge.load()
    every = knowledge.configuration.capabilities.capabilities
    return knowledge, tuple(each.name for each in every if each.headline)


def _post(
    wish: Wish,
    matter: Matter,
    client: Client | None,
    redactor: Redactor,
    folder: Path,
    *,
    dry: bool,
) -> Done:
    """Post, and tell what became of it; in a dry run tell what would be sent."""
    from reports.github.dry import Dry, told  # noqa: PLC0415
    from reports.github.outbox import Nowhere, Outbox  # noqa: PLC0415
    from reports.github.post import publish as carry_out  # noqa: PLC0415

    send = client.send if client else None
    if dry or send is None:
        send = Dry(lambda request: click.echo(redactor.text(told(request))), send).send
    done = carry_out(
        send,
        wish,
        matter,
        lambda: _page(wish, matter),
        Nowhere() if dry else Outbox(folder),
    )
    if client:
        client.close()
    for outcome in () if dry else done.outcomes:
        words = f"{outcome.what:9}  {plain(outcome.place)}  {plain(outcome.url)}"
        click.echo(redactor.text(words.rstrip()))
    return done


def _page(wish: Wish, matter: Matter) -> str:
    from reports import html  # noqa: PLC0415

    return html.render(matter.whole, headline=wish.headline)


def _complain(done: Done, redactor: Redactor, folder: Path) -> int:
    """Tell what failed. Returns the exit code: 3 where the world did, 2 where asking again will not help."""
    for place, error in done.failed:
        words = redactor.text(f"{place}: {error}")
        click.echo(f"nvfp4-matrix: {plain(words, limit=600)}", err=True)
    if done.kept:
        click.echo(
            f"nvfp4-matrix: {done.kept} kept in {folder}, for the next run to post", err=True
        )
    return max((error.exit_code for _, error in done.failed), default=0)


def _summarise(told: Told, here: Job, name: str, *, dry: bool) -> None:
    """Write the job's summary; what stands there from the steps before stays."""
    from reports.github.stepsummary import append, compose  # noqa: PLC0415

    if dry or here.summary is None:
        click.echo(f"GITHUB_STEP_SUMMARY\n{compose(told, name)}")
    else:
        added = append(here.summary, told, name)
        click.echo(f"{'created' if added else 'unchanged':9}  the job's summary")


def _outbox() -> Path:
    return _place("XDG_STATE_HOME", ".local/state") / "outbox"


def _place(variable: str, usual: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / usual) / "nvfp4-matrix"
