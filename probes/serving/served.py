"""One model in one format, served once for all loads: what each load gave is kept on disk for the cases that follow.

A server takes minutes to start, a load seconds to send. The first case that asks for a model starts its server and sends this load
and those after it; the next cases find theirs done. What a crash of the server took with it is started anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from probes.request import Request
from probes.serving import enginelog, modelconfig
from probes.serving.server import MEMORY, Patience, Server, ServerError, fraction, vllm
from probes.serving.servingload import FIGURE, Load, LoadError, measure

REPEATS: Final = 3
"""Equal runs of one load: the one in the middle counts, and how far they lie apart is what noise is here."""

LOAD_LIMIT: Final = 900.0
"""Seconds for one run of one load."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a model served in a format did under one load: `runs`, the figures of equal runs; or `reason` and `text`.

    `kernels`: what the engine said that it uses. `started`: seconds until the server was healthy.
    """

    runs: Sequence[Mapping[str, tuple[float, str]]] = ()
    kernels: tuple[str, ...] = ()
    started: float = 0.0
    reason: str = ""
    text: str = ""

    @property
    def middle(self) -> Mapping[str, tuple[float, str]]:
        """The run in the middle by its speed."""
        return sorted(self.runs, key=lambda run: run[FIGURE][0])[len(self.runs) // 2]

    @property
    def speed(self) -> float:
        """Output tokens a second of the run in the middle."""
        return self.middle[FIGURE][0]

    @property
    def spread(self) -> float:
        """How far equal runs lie apart, as a part of the middle one."""
        speeds = [run[FIGURE][0] for run in self.runs]
        return (max(speeds) - min(speeds)) / self.speed


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and how models are served: `folder` for all files, `total` bytes of GPU memory, `options` of the request."""

    folder: Path
    total: float
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @classmethod
    def of(cls, run: Request) -> Place:
        """Return the place beside a run's results; what lies there from another run is not looked at."""
        folder = Path(run.results).resolve().with_suffix("") / run.run / "serve"
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder=folder, total=memory(run.device), options=run.options, seed=run.seed)

    @property
    def patience(self) -> Patience:
        """How long a server is waited for; the request's option `patience` says otherwise."""
        return Patience(**self.options.get("patience", {}))

    def server(self, model: str, form: str) -> Server:
        """Return a server of a model, its folder written; it is not started."""
        name = f"{model}-{form}"
        return Server(
            vllm(self.options),
            modelconfig.write(self.folder / name, model, form),
            self.folder / f"{name}.log",
            memory=fraction(self.total),
            vision=model == "vision",
            patience=self.patience,
        )


def memory(device: str) -> float:
    """Return the GPU's memory in bytes; without a GPU what the server is given, so that the fraction is the most."""
    if not device.startswith("cuda"):
        return MEMORY
    import torch  # noqa: PLC0415 - a server can be stood in for without it

    total: int = torch.cuda.get_device_properties(device).total_memory
    return total


def outcome(place: Place, model: str, form: str, loads: Sequence[Load], wanted: Load) -> Outcome:
    """Return what `wanted` gave, measured now with the loads that follow it in `loads`, or before."""
    held = _read(place, model, form)
    if wanted not in held:
        following = loads[loads.index(wanted) :]
        _serve(place, model, form, [load for load in following if load not in held])
        held = _read(place, model, form)
    return held[wanted]


def _serve(place: Place, model: str, form: str, loads: Sequence[Load]) -> None:
    """Start a server, and send loads until it fails; each outcome is kept as soon as it is known."""
    try:
        with place.server(model, form) as server:
            for load in loads:
                found = _measured(place, server, load)
                _keep(place, model, form, load, found)
                if found.reason:
                    return
    except ServerError as error:
        for load in loads:
            told = Outcome(
                reason=error.reason, text=error.text, kernels=_kernels(place, model, form)
            )
            _keep(place, model, form, load, told)


def _measured(place: Place, server: Server, load: Load) -> Outcome:
    runs: list[Mapping[str, tuple[float, str]]] = []
    reason = text = ""
    try:
        for repeat in range(place.options.get("repeats", REPEATS)):
            result = server.log.with_name(f"{server.log.stem}-{load.streams}-{repeat}.json")
            seed = place.seed + repeat
            limit = place.options.get("load_seconds", LOAD_LIMIT)
            program = vllm(place.options)
            runs.append(measure(program, server, load, seed=seed, result=result, limit=limit))
    except (ServerError, LoadError) as error:
        reason, text = error.reason, f"{load.streams} streams: {error.text}"
    kernels = enginelog.kernels(server.log)
    return Outcome(runs=runs, kernels=kernels, started=server.started, reason=reason, text=text)


def _kernels(place: Place, model: str, form: str) -> tuple[str, ...]:
    log = place.folder / f"{model}-{form}.log"
    return enginelog.kernels(log) if log.exists() else ()


def _keep(place: Place, model: str, form: str, load: Load, found: Outcome) -> None:
    line = {"load": load.__dict__, "outcome": found.__dict__}
    with (place.folder / f"{model}-{form}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _read(place: Place, model: str, form: str) -> dict[Load, Outcome]:
    file = place.folder / f"{model}-{form}.jsonl"
    held: dict[Load, Outcome] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        told = json.loads(line)
        found = told["outcome"]
        runs = [{k: (v[0], v[1]) for k, v in run.items()} for run in found["runs"]]
        held[Load(**told["load"])] = Outcome(
            **{**found, "runs": runs, "kernels": tuple(found["kernels"])}
        )
    return held
