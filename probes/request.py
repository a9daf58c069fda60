"""What a run is asked to do: one JSON file, which the program writes and the interpreter under test reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run on one cell of the matrix.

    `run`: one word for all its results. `stack`, `target`, `machine`, `environment`: as results have them. `subject`:
    a module of `probes.subjects`. `device`: torch's word. `results`: the file that lines are appended to. `only`: beginnings of
    the names of probes, all where empty. `rest`: the cases that an earlier attempt of this run has not finished,
    None for a run that begins. `seed`: added to every case's own. `limit`: seconds for one probe. `memory`: bytes of address space for one, None for no limit.
    `scale`: "full", or "small" for CPUs. `options`: what single probes read, such as the peak rates of the target.

    `image`: what it runs in, "" for an interpreter of the machine. `pruned`: why a capability is left out, by its name.
    `standing`: what earlier runs found and still holds: {"capability", "run", "checks": {identity: [sha256, seconds]}}.
    """

    run: str
    stack: str
    target: str
    machine: str
    environment: str = ""
    subject: str
    device: str = "cuda"
    results: str
    only: Sequence[str] = ()
    rest: Sequence[str] | None = None
    seed: int = 0
    limit: float = 300.0
    memory: int | None = None
    scale: str = "full"
    options: Mapping[str, Any] = field(default_factory=dict)
    image: str = ""
    pruned: Mapping[str, str] = field(default_factory=dict)
    standing: Sequence[Mapping[str, Any]] = ()

    @property
    def question(self) -> str:
        """16 hex digits over all that decides what a check asks: a result of another question says nothing here."""
        told = [self.subject, self.device, self.seed, self.limit, self.memory, self.scale]
        content = json.dumps([*told, dict(self.options)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @classmethod
    def read(cls, file: Path) -> Request:
        """Read a request. Raises ValueError or TypeError for a file that is none."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))

    def write(self, file: Path) -> None:
        """Write it for another interpreter."""
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")
