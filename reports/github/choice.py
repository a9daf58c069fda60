"""What of the matrix is told: the report that everything goes into, the one for texts, and what must work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matrix.cell import Report
from matrix.document import nearest
from matrix.errors import ConfigurationError, NotFoundError
from matrix.model import Model
from matrix.vocabulary import Environment
from reports.github.redact import Redactor
from reports.github.required import Required, judge
from reports.github.wish import Matter, narrow

if TYPE_CHECKING:
    from matrix.executed import Executed
    from matrix.knowledge import Knowledge


class Filter(Model, frozen=True, kw_only=True):
    """What is asked for, as `show` takes it; empty asks for all. `everything`: in the texts, too."""

    stacks: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    environments: tuple[Environment, ...] = ()
    capabilities: tuple[str, ...] = ()
    everything: bool = False


def choose(
    knowledge: Knowledge,
    executed: Executed,
    wanted: Filter,
    required: Sequence[str],
    *,
    generated: str,
    redactor: Redactor,
) -> Matter:
    """Fold the reports; no secret that a probe printed gets into them.

    Raises ConfigurationError for a name that is not known, and for a requirement outside of the filter.
    """
    known = knowledge.configuration.capabilities.capabilities
    for name in required:
        if name not in (every := [each.name for each in known]):
            raise ConfigurationError(f"--require {name}: no such capability{nearest(name, every)}")
        if wanted.capabilities and name not in wanted.capabilities:
            raise ConfigurationError(f"--require {name}: --capability leaves it out")
    whole = redactor.value(
        knowledge.report(
            generated=generated,
            stacks=wanted.stacks,
            targets=wanted.targets,
            machines=wanted.machines,
            environments=wanted.environments,
            capabilities=wanted.capabilities,
            executed=executed,
        )
    )
    if not whole.cells:
        raise NotFoundError("there is nothing to post: no cell is left of what was asked for")
    names = wanted.capabilities
    if not names:
        names = tuple(c.name for c in known if wanted.everything or c.headline)
        names = tuple(dict.fromkeys((*names, *required)))
    gpus = wanted.targets
    if not gpus:
        shown = [t for t in knowledge.configuration.targets if wanted.everything or t.fp4]
        gpus = tuple(target.name for target in shown)
    brief = narrow(whole, names, gpus)
    # A GPU without FP4 hardware is there to compare with: nothing is required of it unless it is named.
    judged = narrow(
        brief, names, [each.name for each in knowledge.configuration.targets if each.fp4]
    )
    if wanted.targets:
        judged = brief
    return Matter(whole=whole, brief=brief, required=_judged(judged, wanted, required))


def _judged(brief: Report, wanted: Filter, required: Sequence[str]) -> Required:
    """Judge the named stacks, or else the newest, as pip installs them unless environments are named."""
    if not required:
        return Required()
    stacks = [stack.name for stack in brief.stacks]
    if not wanted.stacks:
        stacks = stacks[:1]
    return judge(brief, list(dict.fromkeys(required)), stacks, wanted.environments or ("slim",))
