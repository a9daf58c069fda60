"""`nvfp4-matrix watch`: is it in, since which release, and did it help."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from matrix.errors import ConfigurationError, MatrixError, OutsideError
from reports.executed import kept
from reports.text import plain

if TYPE_CHECKING:
    from matrix.build import Build
    from matrix.evidence.clone import Clone
    from matrix.executed import Executed
    from matrix.knowledge import Knowledge
    from matrix.upstream import Watched
    from matrix.watching import Upstream, WatchReport

EXAMPLES = """\b
Examples:
  nvfp4-matrix watch                                   clones what it needs into the cache
  nvfp4-matrix watch vllm#35568 flashinfer#2650
  nvfp4-matrix watch --clone ~/src/vllm --clone ~/src/flashinfer     no network
  nvfp4-matrix watch --clone flashinfer-ai/flashinfer=/srv/mirror/flashinfer.git --json
  nvfp4-matrix watch --open-prs --dry-run              pins that upstream's releases suggest
  nvfp4-matrix watch --builds vllm-project/vllm=nightlies.txt
"""


@click.command(epilog=EXAMPLES)
@click.argument("names", nargs=-1, metavar="[WATCH]...")
@click.option(
    "--clone",
    "clones",
    multiple=True,
    metavar="[OWNER/NAME=]PATH",
    help="Read this clone, and nothing over the network.",
)
@click.option(
    "--builds",
    "lists",
    multiple=True,
    metavar="OWNER/NAME=FILE",
    help="Nightly wheels, images, releases without a tag: NAME [COMMIT] a line.",
)
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="What was executed, if not from the default folder.",
)
@click.option(
    "--open-prs",
    "proposing",
    is_flag=True,
    help="Propose pins that bring what is in: a branch of --checkout for each.",
)
@click.option(
    "--checkout",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where your stacks are committed [default: here].",
)
@click.option(
    "--stacks-file",
    "file",
    default="matrix/stacks.yaml",
    show_default=True,
    metavar="PATH",
    help="The stacks by hand, in that checkout.",
)
@click.option(
    "--repository",
    metavar="OWNER/NAME",
    help="With --open-prs: make the branches and pull requests there, on GitHub.",
)
@click.option("--dry-run", is_flag=True, help="Print what --open-prs would do, and do nothing.")
@click.option("--markdown", is_flag=True, help="Print a table for an issue or a job's summary.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def watch(
    *,
    names: tuple[str, ...],
    clones: tuple[str, ...],
    lists: tuple[str, ...],
    folder: Path | None,
    proposing: bool,
    checkout: Path,
    file: str,
    repository: str | None,
    dry_run: bool,
    markdown: bool,
    as_json: bool,
) -> None:
    """Tell of watched upstream changes whether they are in, since when, and what our evidence said before and after.

    Without WATCH all of upstream.yaml are told. A state that no history tells is unknown.
    """
    import msgspec  # noqa: PLC0415

    from matrix.knowledge import Knowledge  # noqa: PLC0415
    from matrix.watching import watch as watched  # noqa: PLC0415
    from reports import watchlist, watchmarkdown  # noqa: PLC0415
    from reports.hub import known  # noqa: PLC0415

    if (dry_run or repository) and not proposing:
        option = "--dry-run" if dry_run else "--repository"
        raise ConfigurationError(f"{option} goes with --open-prs")
    if as_json and (proposing or markdown):
        raise ConfigurationError("--json is one object: leave --open-prs and --markdown out")
    knowledge = Knowledge.load()
    asked = _asked(names, knowledge.configuration.watched.watched)
    urls = {one.repository: one.remote for one in knowledge.configuration.watched.repositories}
    wanted = {one.repository for one in asked}
    built = _builds(lists, urls)
    opened, failed = _given(clones, urls) if clones else _cached(wanted, urls)
    histories: dict[str, Upstream] = {}
    for name, clone in opened.items():
        if name in wanted:
            histories[name] = _read(name, clone, asked, built.get(name, ()))
    executed = kept(folder)
    threads = (
        None
        if clones
        else known(lambda words: click.echo(f"nvfp4-matrix: {plain(words)}", err=True))
    )
    told = watched(knowledge, asked, histories, executed=executed, states=threads)
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
    elif markdown:
        click.echo(watchmarkdown.render(told), nl=False)
    else:
        click.echo(watchlist.render(told, shutil.get_terminal_size((80, 24)).columns), nl=False)
    if proposing and (
        code := _propose(
            told, knowledge, executed, checkout, file, repository=repository, dry_run=dry_run
        )
    ):
        sys.exit(code)
    if failed or (threads and threads.failed):
        sys.exit(OutsideError.exit_code)


def _propose(
    told: WatchReport,
    knowledge: Knowledge,
    executed: Executed,
    folder: Path,
    file: str,
    *,
    repository: str | None,
    dry_run: bool,
) -> int:
    """Commit each proposal on a branch of its own, make a pull request of it, or only tell it; return an exit code.

    One that is refused keeps none of the others back.
    """
    from matrix.evidence.checkout import Checkout  # noqa: PLC0415
    from reports.hub import proposer  # noqa: PLC0415
    from reports.proposal import told as written  # noqa: PLC0415
    from reports.repin import Desk, resolved  # noqa: PLC0415

    checkout = Checkout(folder)
    desk = Desk(checkout, file, knowledge, executed, resolved)
    hub = proposer(repository, checkout.base) if repository and not dry_run else None
    proposals = list(desk.proposals(told.watched))
    click.echo()
    code = 0
    for one in proposals:
        if dry_run:
            click.echo(written(one), nl=False)
            continue
        try:
            if hub:
                state = hub.propose(one)
            else:
                made = checkout.commit(one.branch, one.files, f"{one.title}\n\n{one.body}")
                state = f"committed as {made[:12]}" if made else "stands as it is"
        except MatrixError as error:
            click.echo(f"nvfp4-matrix: {plain(f'{one.branch}: {error}')}", err=True)
            code = max(code, error.exit_code)
            continue
        click.echo(plain(f"{one.branch}: {state}; {one.title}"))
    if not proposals:
        click.echo(
            "No pin to propose: no release brings a watched change that a stack by hand lacks."
        )
    elif not (dry_run or hub):
        click.echo("Push a branch and open a pull request from it; its commit message is the text.")
    return code


def _asked(names: Sequence[str], known: Sequence[Watched]) -> list[Watched]:
    """Pick by name, in the order of the file. Raises ConfigurationError with the nearest right name."""
    from matrix.document import nearest  # noqa: PLC0415

    by_name = {one.watch: one for one in known}
    for name in names:
        if name not in by_name:
            raise ConfigurationError(
                f"nothing is watched as {name!r}{nearest(name, list(by_name))}"
            )
    return [one for one in known if one.watch in names or not names]


def _given(clones: Sequence[str], urls: dict[str, str]) -> tuple[dict[str, Clone], bool]:
    """Open the clones that the user has; each is of one watched repository, by its remotes or by name."""
    from matrix.evidence.clone import Clone, split  # noqa: PLC0415

    lowered = {repository.lower(): repository for repository in urls}
    found: dict[str, Clone] = {}
    for text in clones:
        name, path = split(text)
        clone = Clone(path.expanduser())
        fitting = [
            lowered[one.lower()] for one in (name, *clone.repositories) if one.lower() in lowered
        ]
        if not fitting or (name and fitting[0].lower() != name.lower()):
            what = f"{name} is" if name else "none of its remotes is"
            raise ConfigurationError(
                f"--clone {text}: {what} no watched repository; say which: --clone {next(iter(urls))}={path}"
            )
        if fitting[0] in found:
            raise ConfigurationError(f"--clone {text}: {fitting[0]} was given already")
        found[fitting[0]] = clone
    return found, False


def _cached(wanted: set[str], urls: dict[str, str]) -> tuple[dict[str, Clone], bool]:
    """Bring the kept clones up to date; one that cannot be is told on stderr."""
    from matrix.evidence.clone import cached  # noqa: PLC0415

    found: dict[str, Clone] = {}
    failed = False
    for repository in (one for one in urls if one in wanted):
        if sys.stderr.isatty():
            click.echo(f"bringing {repository} up to date …", err=True)
        try:
            found[repository], complaint = cached(repository, urls[repository])
        except OutsideError as error:
            complaint = str(error)
        if complaint:
            failed = True
            click.echo(f"nvfp4-matrix: {plain(complaint)}", err=True)
    return found, failed


def _read(
    repository: str, clone: Clone, asked: Sequence[Watched], built: tuple[Build, ...]
) -> Upstream:
    from matrix.history import Tag  # noqa: PLC0415
    from matrix.watching import Upstream  # noqa: PLC0415

    issues = [one.number for one in asked if one.repository == repository and one.kind == "issue"]
    history = clone.history(repository, issues, [build.commit for build in built if build.commit])
    named = [(build, history.whole(build.commit)) for build in built if build.kind == "release"]
    tags = [Tag(each.name, whole, "release", each.version) for each, whole in named if whole]
    return Upstream(history.tagged(tags), clone.alike, built)


def _builds(lists: Sequence[str], urls: dict[str, str]) -> dict[str, tuple[Build, ...]]:
    """Read lists of builds. Raises ConfigurationError for a file that cannot be read, or of no watched repository."""
    from matrix.build import builds  # noqa: PLC0415
    from matrix.document import nearest  # noqa: PLC0415

    found: dict[str, tuple[Build, ...]] = {}
    for text in lists:
        repository, equals, path = text.partition("=")
        if not equals or repository not in urls:
            raise ConfigurationError(
                f"--builds {text}: is no OWNER/NAME=FILE of a watched repository{nearest(repository, list(urls))}"
            )
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: cannot be read ({type(error).__name__})") from error
        found[repository] = tuple(builds(lines, path))
    return found
