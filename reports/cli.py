"""The command line: one group; each command stands in a module of its own and is imported when it is asked for."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Final

import click

from matrix.errors import MatrixError
from reports.text import plain

COMMANDS: Final = ("show", "pins", "plan", "audit", "select", "refresh")

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
        command = getattr(importlib.import_module(f"reports.commands.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None


@click.group(
    cls=LazyGroup, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="nvfp4-matrix")
def cli(*, debug: bool) -> None:
    """Tell whether NVFP4 really runs with given vLLM, FlashInfer and PyTorch pins on a Blackwell GPU."""


def _end(*_: object) -> None:
    """End as Ctrl-C does: tools stopped, temporary folders removed."""
    sys.exit(143)


def main() -> None:
    """Run the command line; an error is one line on stderr and an exit code (matrix.errors)."""
    signal.signal(signal.SIGTERM, _end)
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except MatrixError as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"nvfp4-matrix: {plain(str(error))}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        told = plain(f"{type(error).__name__}: {error}", limit=200)
        click.echo(
            f"nvfp4-matrix: a defect of this program, {told} (--debug shows where)", err=True
        )
        sys.exit(70)
