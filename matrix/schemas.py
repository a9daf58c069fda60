"""JSON Schemas of the data files and of what the commands print, made from the models.

`python -m matrix.schemas` writes them to `matrix/schema/`, from where editors and scripts take them.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from matrix.capability import CapabilitiesFile
from matrix.cell import Report
from matrix.compiled import PieceState
from matrix.defect import DefectsFile
from matrix.driver import DriversFile
from matrix.evidence.record import WheelEvidence
from matrix.gate import GatesFile, Sha256
from matrix.image import ImageReport, LockReport
from matrix.model import Model
from matrix.path import PathsFile
from matrix.pins import Choice
from matrix.planned import PlanOutput
from matrix.proberun import ProbeRun
from matrix.published import Listing
from matrix.repository import RepositoriesFile
from matrix.result import Result
from matrix.selection import Selection
from matrix.stack import StacksFile, WrittenStack
from matrix.target import TargetsFile
from matrix.upstream import UpstreamFile
from matrix.vocabulary import Answer, Compiled, Environment
from matrix.watching import WatchReport

FOLDER: Final = Path(__file__).parent / "schema"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class Lamps(Model, frozen=True, kw_only=True):
    """What one wheel is for one capability on one target.

    `images`: those that the target can load and that hold a kernel; `kernels`: how many in all.
    `claims`: what each of the package's checks says, by environment.
    `needs`: what must be there beside the wheel ("nvcc 12.9", a library).
    `pieces`: the same for each piece by itself.
    """

    compiled: Compiled
    declared: Answer
    images: tuple[str, ...]
    claims: dict[str, dict[Environment, Answer]]
    kernels: int
    needs: tuple[str, ...]
    pieces: dict[str, PieceState]


class Audit(Model, frozen=True, kw_only=True):
    """What `audit --json` prints of one wheel: `capabilities` by name, and in each the targets by name.

    `machine` is the one that was asked for where the wheel is the same on every machine.
    `bytes_fetched` is what came over the network.
    """

    package: str
    version: str
    machine: str
    filename: str
    sha256: Sha256 | Literal[""]
    bytes_total: int
    bytes_fetched: int
    capabilities: dict[str, dict[str, Lamps]]


class TryOutput(Model, frozen=True, kw_only=True):
    """What `try --json` prints: the patched stack, as `stacks.yaml` has those by hand, and the jobs that probe it."""

    stack: WrittenStack
    plan: PlanOutput


FILES: Final[dict[str, type[Model]]] = {
    "targets": TargetsFile,
    "capabilities": CapabilitiesFile,
    "gates": GatesFile,
    "paths": PathsFile,
    "defects": DefectsFile,
    "stacks": StacksFile,
    "drivers": DriversFile,
    "upstream": UpstreamFile,
    "repositories": RepositoriesFile,
}
"""The data files, by name without `.yaml`."""

OUTPUTS: Final[dict[str, type[Model]]] = {
    "show": Report,
    "audit": Audit,
    "pins": Choice,
    "plan": PlanOutput,
    "watch": WatchReport,
    "try": TryOutput,
    "build": ImageReport,
    "lock": LockReport,
    "select": Selection,
    "record": WheelEvidence,
    "releases": Listing,
    "result": Result,
    "run": ProbeRun,
}
"""What commands print as JSON, by command; a record of the ledger; the ledger's `releases.json`; and a line
of a journal of results, which `import --json` prints, too."""

_TITLES: Final = {
    **{name: f"{name}.yaml" for name in FILES},
    "show": "nvfp4-matrix show --format json",
    "audit": "nvfp4-matrix audit --json",
    "pins": "nvfp4-matrix pins --json",
    "plan": "nvfp4-matrix plan --json",
    "watch": "nvfp4-matrix watch --json",
    "try": "nvfp4-matrix try --json",
    "build": "nvfp4-matrix build --json",
    "lock": "nvfp4-matrix build --lock-only --json",
    "select": "nvfp4-matrix select --json",
    "record": "ledger/<package>/<wheel>.json",
    "releases": "ledger/releases.json",
    "result": "results/<run>.jsonl, each line; nvfp4-matrix import --json, each line",
    "run": "results/<run>.jsonl, the line that opens a probe run",
}


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a data file or output by name; pure.

    Raises KeyError for a name that is in neither FILES nor OUTPUTS.
    """
    model = {**FILES, **OUTPUTS}[name]
    made = msgspec.json.schema(model)
    for part in made["$defs"].values():
        part["description"] = inspect.cleandoc(part["description"])
    own = made["$defs"][model.__name__]["description"]
    return {"$schema": DIALECT, "title": _TITLES[name], "description": own, **made}


def encoded(name: str) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def path(name: str) -> Path:
    """Return where the schema of a data file or output lies."""
    return FOLDER / f"{name}.schema.json"


def main() -> None:
    """Write every schema to its file."""
    FOLDER.mkdir(exist_ok=True)
    for name in (*FILES, *OUTPUTS):
        path(name).write_text(encoded(name), encoding="utf-8")


if __name__ == "__main__":
    main()
