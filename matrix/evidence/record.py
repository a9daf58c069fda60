"""What was read in one published wheel: the unit of the ledger, an immutable fact."""

from __future__ import annotations

from matrix.gate import GateAnswer, Sha256
from matrix.model import Model


class ObjectEvidence(Model, frozen=True, kw_only=True):
    """One shared object of the wheel.

    `outcome`: `read` (handed to cuobjdump), `no-kernels` (no kernel name of ours before its machine
    code, so it was inflated only that far), `no-device-code`, `refused` (cuobjdump could not read it;
    `detail` says what it said), `skipped` (the package's rule says so). `images` and `ptx`: entries in the
    fat binary by architecture as cuobjdump names it ("sm_120f"), only where it was read. `needs`: the CUDA
    runtime among its DT_NEEDED ("libcudart.so.13"), which says for which CUDA it was built.
    """

    path: str
    size: int
    outcome: str
    sha256: str = ""
    images: dict[str, int] = {}  # noqa: RUF012 - msgspec copies an empty default
    ptx: dict[str, int] = {}  # noqa: RUF012 - msgspec copies an empty default
    needs: str = ""
    detail: str = ""


class KernelEvidence(Model, frozen=True, kw_only=True):
    """The kernels of one piece in the images of one architecture of one shared object.

    `kernels`: entry functions whose name matches the piece; `proven`: those whose code holds the piece's
    instruction (equal to `kernels` where the piece needs none); `trapped`: those that hold none of it.
    `proven + trapped == kernels`. `kind`: `elf` is machine code; `ptx` is never proven by disassembly.
    `opcodes`: how often each matching opcode occurs. `example`: one mangled name, cut at 160 characters.
    """

    piece: str
    object: str
    image: str
    kind: str = "elf"
    kernels: int
    proven: int
    trapped: int
    opcodes: dict[str, int] = {}  # noqa: RUF012 - msgspec copies an empty default
    example: str = ""


class CubinEvidence(Model, frozen=True, kw_only=True):
    """Cubin files of one piece in the wheel, counted by the architecture in their names ("sm100f")."""

    piece: str
    image: str
    files: int
    example: str = ""


class WheelEvidence(Model, frozen=True, kw_only=True):
    """Everything that one audit of one wheel found, and nothing that follows from it by rule.

    `machine` is "any" for a wheel that is the same on every machine. `measured` is the UTC date.
    `rules` is a digest of the data entries (pieces, gates) that were applied, so that a later
    change of the data shows which records must be measured again. `facts` holds what only some
    readers know: torch's `cuda` ("13.0", or "" for a CPU build) and `arch_list`, the DSL's targets.
    `bytes_fetched` counts what came over the network, directory and index metadata included.
    """

    package: str
    version: str
    build: str = ""
    python: str = ""
    machine: str
    filename: str
    sha256: Sha256
    bytes_total: int
    bytes_fetched: int
    measured: str
    tools: dict[str, str] = {}  # noqa: RUF012 - msgspec copies an empty default
    rules: str = ""
    requires_python: str = ""
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    objects: tuple[ObjectEvidence, ...] = ()
    kernels: tuple[KernelEvidence, ...] = ()
    cubins: tuple[CubinEvidence, ...] = ()
    gates: tuple[GateAnswer, ...] = ()
    facts: dict[str, str] = {}  # noqa: RUF012 - msgspec copies an empty default
