"""Gates: what a package says of itself, per backend, as `gates.yaml` states where to read it."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from msgspec import Meta

from matrix.model import Model
from matrix.vocabulary import Answer, Environment

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class PythonGate(Model, frozen=True, kw_only=True):
    """A Python function (`Class.method` or `function`) of a wheel, evaluated by AST, never imported.

    `file` is a member of the wheel; `moved` are other places where some releases keep the function.
    `style` says how it answers:
    "call": its return value's truth, or that of the first item of a returned tuple; a raise is a no.
    "refuse": no where it raises itself, yes where it goes on; what it calls is not followed.
    "decorator": the support decorators above it; `backend` chooses the entry of a
    `backend_requirement` table.
    "minimum": yes from the capability on that it returns.
    "codegen": the major versions that it hands to FlashInfer's `get_nvcc_flags_list`.
    `given`: names, parameters or calls (as written in the source) whose value is known in this gate's
    question, for instance `has_humming()`. `capability_parameter`: the parameter that takes the
    capability as text ("121"). `returns`: the members of an enumeration that mean yes; `assigns`: a
    name that the function leaves its choice in ("self.backend"), where it does not return it. `also`:
    further functions, found in the same places and asked alike, that must not say no either.
    """

    file: str
    function: str
    moved: tuple[str, ...] = ()
    style: Literal["call", "refuse", "minimum", "decorator", "codegen"] = "call"
    backend: str = ""
    given: dict[str, bool | int | str | None] = {}  # noqa: RUF012 - msgspec copies an empty default
    capability_parameter: str = ""
    returns: tuple[str, ...] = ()
    assigns: str = ""
    also: tuple[str, ...] = ()


class Predicate(Model, frozen=True, kw_only=True):
    """A check in C++ that no wheel carries as source: capabilities for which it answers yes.

    Bounds are compute capabilities as numbers (12.1 is 121), lowest included, `below` excluded.
    `needs_piece`: additionally the wheel must hold images of that piece for the target's family
    (a check that is compiled in together with the kernel); `asked_for` is the capability whose images
    stand for the whole range, where a compile-time flag of one family answers for it.
    `sdist` is the SHA-256 of the source distribution that `file` and `line` cite.
    """

    minimum: int
    below: int = 1000
    needs_piece: str | None = None
    asked_for: int | None = None
    sdist: Sha256
    file: str
    line: int


class Gate(Model, frozen=True, kw_only=True):
    """One claim of one package about one backend of one capability, in one range of releases.

    Several entries may share a name, one a release range. Exactly one of `python` and `predicate`.
    `native`: the backend runs FP4 matrix instructions (weight-only and emulation do not).
    `minimum_cuda`: the CUDA runtime without which the check says no; which one it meets, a stack's torch
    decides, so a wheel's record does not know.
    """

    gate: Annotated[str, Meta(pattern=r"^[a-z0-9_]+(\.[a-z0-9_-]+)+$")]
    package: str
    versions: str = ""
    capabilities: tuple[str, ...] = ()
    backend: str = ""
    native: bool = True
    python: PythonGate | None = None
    predicate: Predicate | None = None
    minimum_cuda: str = ""
    note: str = ""


class Extern(Model, frozen=True, kw_only=True):
    """A call in a package's Python whose body is C++ (`torch.ops._C.…`), answered by a predicate.

    Several entries for one call and release: yes where any of them says so.
    """

    call: str
    package: str
    versions: str = ""
    predicate: Predicate


class GatesFile(Model, frozen=True, kw_only=True):
    """The content of `gates.yaml`."""

    gates: tuple[Gate, ...]
    externs: tuple[Extern, ...] = ()


_HEAD: Final = r"(?:(slim|devel) )?(sm\d+(?:, sm\d+)*): "
"""What a part of `GateAnswer.why` begins with, where it is not about everything."""

_ABOUT: Final = re.compile(_HEAD)
_PART: Final = re.compile(r"; (?=(?:slim |devel )?sm\d+(?:, sm\d+)*: )")


class GateAnswer(Model, frozen=True, kw_only=True):
    """What one gate of one wheel says, by compute capability ("121") and environment.

    `slim` and `devel` differ where the source asks for FlashInfer (`has_flashinfer()` is false without
    nvcc and without flashinfer-cubin). `why` holds the package's own words for a no, or what could not
    be decided for an unknown. `where` is `member:line` in the wheel, or sdist file and line.
    """

    gate: str
    backend: str = ""
    native: bool = True
    capabilities: tuple[str, ...] = ()
    where: str = ""
    slim: dict[str, Answer] = {}  # noqa: RUF012 - msgspec copies an empty default
    devel: dict[str, Answer] = {}  # noqa: RUF012 - msgspec copies an empty default
    why: str = ""

    def reason(self, capability: int, environment: Environment) -> str:
        """Return the part of `why` that is about one GPU in one environment ("" where none is)."""
        words: list[str] = []
        for part in _PART.split(self.why):
            found = _ABOUT.match(part)
            if found is None:
                words.append(part)
            elif found[1] in (None, environment) and f"sm{capability}" in found[2].split(", "):
                words.append(part[found.end() :])
        return "; ".join(dict.fromkeys(word for word in words if word))
