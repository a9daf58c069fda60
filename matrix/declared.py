"""The declared lamp: what one package's own claims for a capability come to on a target. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from matrix.gate import GateAnswer
from matrix.vocabulary import ENVIRONMENTS, Answer, Environment


def declared(
    gates: Sequence[GateAnswer],
    capability: str,
    gpu: int,
    environments: Sequence[Environment] = ENVIRONMENTS,
    *,
    denied: Collection[str] = (),
) -> Answer:
    """Fold the claims of every native backend of `capability` for compute capability `gpu`.

    Yes where any backend says yes in any of `environments`; no where all say no; else unknown, also
    where the package makes no claim. `denied`: gates that say no whatever was read, for what the stack lacks. Weight-only and emulation are no claim of NVFP4 support.
    """
    answers = {
        "no"
        if gate.gate in denied
        else (gate.slim if environment == "slim" else gate.devel).get(str(gpu), "unknown")
        for gate in gates
        if gate.native and capability in gate.capabilities
        for environment in environments
    }
    if "yes" in answers:
        return "yes"
    return "no" if answers == {"no"} else "unknown"
