"""The command line: one group; each command stands in a module of its own and is imported when it is asked for."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import sys
from typing import Final

import click

from matrix.errors import MatrixError, OutsideError
from reports.text import plain

COMMANDS: Final = (
    "show", "pins", "plan", "audit", "select", "build", "probe", "refresh", "import",
    "publish", "watch", "try", "handback", "collect", "archive", "runners", "answer", "approve",
)  # fmt: skip
_MODULES: Final = {"import": "importing", "try": "trying"}
"""Commands that Python has a keyword of the same name for."""

EXAMPLES = """\b
Examples:
  nvfp4-matrix show --target sm121
  nvfp4-matrix audit vllm==0.33.0 --machine aarch64
  nvfp4-matrix pins --target sm121 --need gemm --need moe
"""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is looked up."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order in which a user meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import `reports.commands.<name>`, which holds a command of the same name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        name = _MODULES.get(cmd_name, cmd_name)
        command = getattr(importlib.import_module(f"reports.commands.{name}"), name)
        return command if isinstance(command, click.Command) else None


@click.group(
    cls=LazyGroup, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="nvfp4-matrix")
def cli(*, debug: bool) -> None:
    """Tell whether NVFP4 really runs with given vLLM, FlashInfer and PyTorch pins on a Blackwell GPU."""


def _end(number: int, _: object) -> None:
    """End as Ctrl-C does: tools stopped, temporary folders removed."""
    sys.exit(128 + number)


def _ready() -> None:
    """Make signals end the program in order, and output that cannot be encoded a "?", not a failure."""
    signal.signal(signal.SIGTERM, _end)
    if hasattr(signal, "SIGHUP"):  # POSIX
        signal.signal(signal.SIGHUP, _end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _silence() -> None:
    """Let Python not try once more, at its end, what could not be written."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Run the command line; an error is one line on stderr and an exit code (matrix.errors)."""
    _ready()
    output = sys.stdout
    try:
        if sys.stdout is None:
            raise OutsideError("standard output is closed")
        cli.main(standalone_mode=False)
        sys.stdout.flush()
    except SystemExit:
        if sys.stdout is not output:  # click puts another one there when its reader has gone
            sys.exit(141)
        raise
    except Exception as error:
        if "--debug" in sys.argv and not isinstance(error, click.ClickException | click.Abort):
            raise
        code, words = _told(error)
        click.echo(words, err=True)
        sys.exit(code)


def _told(error: Exception) -> tuple[int, str]:
    """Give exit code and line of an error."""
    match error:
        case click.Abort():
            return 130, "stopped"
        case click.ClickException():
            return 2, f"nvfp4-matrix: {plain(error.format_message())}"
        case MatrixError():
            return error.exit_code, f"nvfp4-matrix: {plain(str(error))}"
        case OSError():
            _silence()
            return OutsideError.exit_code, f"nvfp4-matrix: cannot write: {error.strerror or error}"
        case _:
            words = plain(f"{type(error).__name__}: {error}", limit=200)
            return 70, f"nvfp4-matrix: a defect of this program, {words} (--debug shows where)"
