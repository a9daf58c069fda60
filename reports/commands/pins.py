"""`nvfp4-matrix pins`: which pins to install for a target, and a lock of them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from matrix.errors import ConfigurationError
from matrix.vocabulary import ENVIRONMENTS, MACHINES, Environment
from reports.executed import kept

if TYPE_CHECKING:
    from matrix.knowledge import Knowledge
    from matrix.namedstack import NamedStack
    from matrix.pins import Choice, Host
    from matrix.target import Target

EXAMPLES = """\b
Examples:
  nvfp4-matrix pins --target sm121 --need gemm --need moe
  nvfp4-matrix pins --target sm120 --need gemm --driver 570.86 --python 3.12
  nvfp4-matrix pins --target sm121 --need gemm --lock requirements.txt
  nvfp4-matrix pins --target sm100 --machine x86_64 --need moe --json
"""


@click.command(epilog=EXAMPLES)
@click.option("--target", required=True, metavar="TARGET", help="sm120, sm121, …")
@click.option(
    "--need", "needs", multiple=True, metavar="CAPABILITY", help="gemm, moe, …; at least one."
)
@click.option("--machine", type=click.Choice(MACHINES), help="Only this CPU of the target's.")
@click.option(
    "--environment",
    type=click.Choice(ENVIRONMENTS),
    default="slim",
    show_default=True,
    help="slim: what pip installs; devel: plus nvcc and ninja.",
)
@click.option("--driver", metavar="VERSION", help="NVIDIA driver you have: 580.95.05.")
@click.option("--python", metavar="X.Y", help="Python you have; 3.12 for a lock.")
@click.option(
    "--lock",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the whole tree of the newest one, with hashes.",
)
@click.option("--stack", metavar="STACK", help="Lock this stack instead.")
@click.option(
    "--override", "overrides", multiple=True, metavar="REQUIREMENT", help="For the lock: wins."
)
@click.option("--allow-source", is_flag=True, help="For the lock: source releases too.")
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="What was executed, if not from the default folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def pins(
    *,
    target: str,
    needs: tuple[str, ...],
    machine: str | None,
    environment: Environment,
    driver: str | None,
    python: str | None,
    file: Path | None,
    stack: str | None,
    overrides: tuple[str, ...],
    allow_source: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Choose pins: the newest and the oldest stack that do what is needed, and why others do not.

    What was executed counts beside the ledger: results are read as `show` reads them.
    """
    from matrix.knowledge import Knowledge  # noqa: PLC0415
    from matrix.namedstack import found  # noqa: PLC0415
    from matrix.pins import choose  # noqa: PLC0415
    from reports import pinlist  # noqa: PLC0415

    knowledge = Knowledge.load()
    gpu = knowledge.configuration.target(target)
    _check_needs(needs, knowledge)
    machines = _machines(gpu, machine)
    host = _host(gpu, driver, python)
    if not file and (stack is not None or overrides or allow_source):
        raise ConfigurationError("--stack, --override and --allow-source say how to --lock FILE")
    if file and len(machines) > 1:
        raise ConfigurationError(
            f"a lock is for one machine, and {target} exists with {' and '.join(machines)}: "
            "say --machine"
        )
    chosen = found(stack, knowledge.stacks) if stack is not None else None
    if file:
        _check_lock(file, overrides)
    report = knowledge.report(
        generated="",
        stacks=[stack.name for stack in knowledge.stacks],
        targets=(target,),
        machines=machines,
        environments=(environment,),
        capabilities=needs,
        executed=kept(folder),
    )
    choice = choose(
        report, target=target, needs=needs, machines=machines, environment=environment, host=host
    )
    if as_json:
        import msgspec  # noqa: PLC0415

        click.echo(msgspec.json.encode(choice).decode())
    else:
        where = [", ".join(machines), environment]
        where += [f"driver {driver}"] if driver else []
        where += [f"Python {python}"] if python else []
        asked = f"{', '.join(dict.fromkeys(needs))} on {target} ({'; '.join(where)})"
        click.echo(
            pinlist.render(
                choice,
                report.stacks,
                asked=asked,
                machines=machines,
                width=shutil.get_terminal_size((80, 24)).columns,
            ),
            nl=False,
        )
    if file:
        name = chosen.name if chosen else choice.newest
        if name is None:
            click.echo("nvfp4-matrix: no lock is written: no stack qualifies", err=True)
        else:
            _lock(
                chosen or found(name, knowledge.stacks),
                knowledge,
                file=file,
                gpu=gpu,
                machine=machines[0],
                python=python,
                overrides=overrides,
                allow_source=allow_source,
            )
    sys.exit(0 if _qualifies(choice, chosen) else 1)


def _qualifies(choice: Choice, chosen: NamedStack | None) -> bool:
    """Say whether what was asked for works; a locked stack that does not is told on stderr."""
    if chosen is None:
        return choice.newest is not None
    for rejected in choice.rejected:
        if rejected.stack == chosen.name:
            click.echo(f"nvfp4-matrix: {chosen.name} does not qualify: {rejected.reason}", err=True)
            return False
    return True


def _check_needs(needs: tuple[str, ...], knowledge: Knowledge) -> None:
    """Demand one need at least; whether each is known, the report says."""
    if not needs:
        known = [known.name for known in knowledge.configuration.capabilities.capabilities]
        raise ConfigurationError(
            f"say at least once what the stack must do: --need gemm (known: {', '.join(known)})"
        )


def _machines(gpu: Target, machine: str | None) -> tuple[str, ...]:
    if machine is None:
        return gpu.machines
    if machine not in gpu.machines:
        raise ConfigurationError(f"{gpu.name} exists with {' and '.join(gpu.machines)} only")
    return (machine,)


def _host(gpu: Target, driver: str | None, python: str | None) -> Host:
    import re  # noqa: PLC0415

    from matrix.driver import check, drivers  # noqa: PLC0415
    from matrix.pins import Host  # noqa: PLC0415

    if driver is not None:
        check(driver)
    if python is not None and not re.fullmatch(r"3\.[0-9]{1,2}(\.[0-9]{1,2})?", python):
        raise ConfigurationError(f"{python!r} is no Python version, such as 3.12")
    return Host(
        driver=driver or "",
        python=python or "",
        first_cuda=gpu.first_cuda,
        drivers=drivers() if driver else None,
    )


def _check_lock(file: Path, overrides: tuple[str, ...]) -> None:
    """Refuse, before anything is printed, what no lock can be made with."""
    from matrix.evidence.lock import requirement  # noqa: PLC0415
    from matrix.evidence.lockfile import check_place  # noqa: PLC0415

    check_place(file)
    for override in overrides:
        requirement(override)


def _lock(
    named: NamedStack,
    knowledge: Knowledge,
    *,
    file: Path,
    gpu: Target,
    machine: str,
    python: str | None,
    overrides: tuple[str, ...],
    allow_source: bool,
) -> None:
    """Resolve and write one lock; tell on stderr where it is not what the matrix judged."""
    import shlex  # noqa: PLC0415
    from datetime import UTC, datetime  # noqa: PLC0415

    from matrix.derive import PYTHON  # noqa: PLC0415
    from matrix.evidence import lock, lockfile  # noqa: PLC0415
    from matrix.evidence.pipconfig import read_pip_config  # noqa: PLC0415
    from matrix.wholefile import write  # noqa: PLC0415
    from reports.text import plain  # noqa: PLC0415

    python = python or PYTHON
    if sys.stderr.isatty():
        click.echo(f"locking {named.name} for {machine} …", err=True)
    made = lock.resolve(
        lock.wanted(named.pins, named.extras, overrides),
        machine=machine,
        python=python,
        config=read_pip_config(),
        allow_source=allow_source,
    )
    asked = f"{named.name} for {gpu.name} ({', '.join(gpu.products)}) on {machine}"
    install = f"pip install --require-hashes --no-deps -r {shlex.quote(file.name)}"
    header = (
        f"{asked}: CPython {python}, glibc {made.glibc} or newer",
        f"Locked by nvfp4-matrix on {datetime.now(UTC):%Y-%m-%d}. Install: {install}",
    )
    # One line each, whatever a name holds: what follows a line's end would be pip's to obey.
    text = "".join(f"# {plain(line)}\n" for line in header) + made.text
    write(file, text.encode())
    click.echo(plain(f"{file}: {len(made.versions)} packages"), err=True)
    judged = {pin.package: pin.version for pin in knowledge.resolve(named, machine).pins}
    for difference in lockfile.differences(made.versions, judged):
        click.echo(f"nvfp4-matrix: the lock is not what was judged: {difference}", err=True)
