"""What of a run is worth a GPU's time: what cannot work is left out, and what was found and still holds is taken over. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from images.place import Place
from matrix.executed import Executed
from matrix.journal import Reading
from matrix.knowledge import Knowledge
from matrix.plan import plan
from matrix.standing import Now, standing
from probes.request import Request


def worthwhile(
    request: Request, where: Place, knowledge: Knowledge, kept: Reading, gpu: Mapping[str, str]
) -> Request:
    """Return `request` with what a run of it leaves out, and why. `gpu`: what nvidia-smi says of it, {} on a CPU."""
    now = Now(
        stack=request.stack,
        target=request.target,
        machine=where.machine,
        environment=where.environment,
        subject=request.subject,
        image=request.image,
        question=request.question,
        gpu=gpu,
    )
    holds = standing(now, kept.runs, kept.results)
    return replace(
        request,
        pruned=hopeless(where, knowledge, kept),
        standing=msgspec.to_builtins(holds),
    )


def hopeless(where: Place, knowledge: Knowledge, kept: Reading) -> dict[str, str]:
    """Say of each capability that cannot work there why, by what is known of its pieces.

    Of a stack that the ledger does not know nothing is said, nor of a target that is no GPU of the matrix.
    """
    configuration = knowledge.configuration
    known = {target.name for target in configuration.targets}
    if where.target not in known or where.stack not in {s.name for s in knowledge.stacks}:
        return {}
    report = knowledge.report(
        generated="",
        stacks=(where.stack,),
        targets=(where.target,),
        machines=(where.machine,),
        environments=(where.environment,),
        executed=Executed(kept.results, kept.runs),
    )
    controls = {target.name for target in configuration.targets if not target.fp4}
    return {
        each.capability: f"{each.verdict}: {each.reason}" if each.reason else each.verdict
        for each in plan(report, controls=controls).pruned
    }
