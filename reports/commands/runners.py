"""`nvfp4-matrix runners`: which self-hosted runners GitHub knows, for the plan."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from matrix.errors import OutsideError

_PAGE: Final = 100
_PAGES: Final = 100
"""10,000 runners: as many as one group may have."""

EXAMPLES = """\b
Examples:
  nvfp4-matrix runners --output runners.json && nvfp4-matrix plan --runners runners.json

\b
The token (NVFP4_MATRIX_TOKEN) needs the repository's permission "Administration: read", which a job's own
token cannot have. Without a token the file says that nobody could ask, and every job is sent.
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the list is written to, as GitHub gives it.",
)
def runners(*, output: Path) -> None:
    """Write down which self-hosted runners the repository has, and which of them are online."""
    import msgspec  # noqa: PLC0415

    from matrix.runner import Runner  # noqa: PLC0415
    from matrix.wholefile import write  # noqa: PLC0415
    from reports.driving.connection import connect  # noqa: PLC0415
    from reports.github.refusal import ask  # noqa: PLC0415
    from reports.github.request import Request  # noqa: PLC0415

    there = connect(os.environ)
    if there is None:
        write(output, b"null\n")
        click.echo("no token: who is online is not known, and every job is sent", err=True)
        return
    found: list[Runner] = []
    for page in range(1, _PAGES + 1):
        path = there.repository.path("actions", "runners", per_page=_PAGE, page=page)
        document = ask(there.send, "runners", Request(method="GET", path=path)).document
        try:
            told = document["runners"] if isinstance(document, dict) else None
            listed = msgspec.convert(told, tuple[Runner, ...])
        except (KeyError, msgspec.ValidationError) as error:
            raise OutsideError(f"GitHub's list of runners is none: {error}") from error
        found += listed
        if len(listed) < _PAGE:
            break
    # Names and labels alone: the rest is nobody's business downstream.
    write(output, msgspec.json.encode({"runners": found}) + b"\n")
    online = sum(runner.status == "online" for runner in found)
    click.echo(f"{online} of {len(found)} runners are online")
