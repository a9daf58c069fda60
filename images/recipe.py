"""What an image is made of, as a value: its Dockerfile, its labels, and the fingerprint that is its tag. Pure."""

from __future__ import annotations

import hashlib
import importlib.resources
import re
from collections.abc import Mapping
from functools import cache
from typing import Final

import jinja2
import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from matrix.errors import ConfigurationError
from matrix.evidence.lockfile import Lock
from matrix.model import Model
from matrix.vocabulary import Environment, Machine

NAME: Final = "nvfp4-matrix"
"""The repository of every image, and what its labels begin with."""

PREFIX: Final = "/opt/stack"
"""Where the stack's virtual environment lies in an image."""

CACHE: Final = "/var/cache/stack"
"""Where a run's volume of compiled kernels is mounted; anybody may write there."""

UID: Final = 10001
"""Who an image runs as; 1000 is taken in Ubuntu's own images."""

MARK: Final = f"{NAME}.fingerprint"
"""The label of an image, and of whatever a build of it leaves: that may hold a login, and is removed when it ends."""

PIN: Final = f"{NAME}.pin."
"""What a pin's label begins with; the package follows, and the label's text is its version."""

SOURCE: Final = f"{NAME}.source."
"""What the label of a package begins with that was built from source; its text is the repository and its commits."""

_BASE: Final = re.compile(
    r"(?:(?:[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w][\w.-]{0,127})?@)?"
    r"sha256:[0-9a-f]{64}",
    re.ASCII,
)
_LONGEST: Final = 400
_PYTHON: Final = re.compile(r"3\.[0-9]{1,2}", re.ASCII)
_CUDA: Final = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}", re.ASCII)
_NAMED: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_VERSION: Final = re.compile(r"[A-Za-z0-9.+!_-]+", re.ASCII)
_RUNTIMES: Final = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu13", "nvidia-cuda-runtime-cu12")


class Recipe(Model, frozen=True, kw_only=True):
    """Everything that decides what is in an image, and nothing that does not.

    `lock`: a line for each package, with its hashes, in order. `pins`: the version of each by name. `cuda`:
    "13.0", the CUDA whose compiler `devel` needs; "" in `slim`. `sources`: of each package that was built from source
    and comes from no index, its repository and commits. Index, proxy, certificates are not here: the
    hashes say what is installed, wherever it comes from.
    """

    stack: str
    machine: Machine
    environment: Environment
    python: str
    base: str
    lock: tuple[str, ...]
    pins: dict[str, str]
    cuda: str = ""
    sources: dict[str, str] = {}  # noqa: RUF012 - msgspec copies an empty default


def recipe(
    lock: Lock,
    *,
    stack: str,
    machine: Machine,
    environment: Environment,
    python: str,
    base: str,
    sources: Mapping[str, str] | None = None,
) -> Recipe:
    """Make a recipe of a resolved tree. Raises ConfigurationError for what must not stand in a Dockerfile."""
    check_base(base)
    check_python(python)
    lines = requirements(lock.text)
    if lock.unhashed or len(lines) != len(lock.versions):
        wrong = ", ".join(lock.unhashed) or "a package twice"
        raise ConfigurationError(f"the lock of {stack} is no list of pins with hashes: {wrong}")
    pins: dict[str, str] = {
        canonicalize_name(name): version for name, version in sorted(lock.versions.items())
    }
    check_pins(pins)
    cuda = toolkit(lock.versions) if environment == "devel" else ""
    if environment == "devel" and not _CUDA.fullmatch(cuda):
        raise ConfigurationError(
            f"{stack}: nothing in it says which CUDA's compiler `devel` needs; build it slim"
        )
    return Recipe(
        stack=stack,
        machine=machine,
        environment=environment,
        python=python,
        base=base,
        lock=lines,
        pins=pins,
        cuda=cuda,
        sources=dict(sources or {}),
    )


def check_pins(pins: Mapping[str, str]) -> None:
    """Raise ConfigurationError for a pin that is no name and version: each is a label in the Dockerfile."""
    for name, version in pins.items():
        try:
            sound = _NAMED.fullmatch(name) and str(Version(version)) and _VERSION.fullmatch(version)
        except InvalidVersion:
            sound = None
        if not sound:
            raise ConfigurationError(f"the lock pins {name[:60]!r} at {version[:60]!r}: no version")


def check_base(base: str) -> None:
    """Raise ConfigurationError for a base that is not named by its digest."""
    if len(base) > _LONGEST or not _BASE.fullmatch(base):
        raise ConfigurationError(
            f"--base {base[:80]!r}: name it by digest, NAME@sha256:…, or sha256:… of an image that is here "
            "(docker images --digests --no-trunc)"
        )


def check_python(python: str) -> None:
    """Raise ConfigurationError for what is no minor release of Python."""
    if not _PYTHON.fullmatch(python):
        raise ConfigurationError(f"--python {python[:20]!r}: write it as 3.12")


def requirements(text: str) -> tuple[str, ...]:
    """Return the requirements of a lock, sorted, one line each, without comments."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = (" ".join(line.split()) for line in joined.splitlines())
    return tuple(sorted(line for line in lines if line and not line.startswith("#")))


def toolkit(versions: Mapping[str, str]) -> str:
    """Return the CUDA that a stack is built for ("13.0"), by the runtime among its packages; "" without one."""
    for name in _RUNTIMES:
        if version := versions.get(name):
            return ".".join(version.split(".")[:2])
    return ""


@cache
def _template() -> jinja2.Template:
    text = (importlib.resources.files("images") / "Dockerfile.j2").read_text(encoding="utf-8")
    # Nothing is escaped: every value that is filled in was matched whole against a pattern before.
    environment = jinja2.Environment(  # noqa: S701 - no HTML
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(text)


def dockerfile(made: Recipe) -> str:
    """Return the image's Dockerfile."""
    return _rendered(made, fingerprint(made))


def _rendered(made: Recipe, digits: str) -> str:
    return _template().render(
        base=made.base,
        python=made.python,
        uid=UID,
        cache=CACHE,
        prefix=PREFIX,
        compiler=made.environment == "devel",
        cuda=made.cuda,
        mark=MARK,
        pin_label=PIN,
        pins=made.pins,
        wheels=bool(made.sources),
        fingerprint=digits,
    )


def fingerprint(made: Recipe) -> str:
    """Return 64 hex digits over the recipe and its Dockerfile: the same for the same image."""
    content = msgspec.json.encode([made, _rendered(made, "")], order="deterministic")
    return hashlib.sha256(content).hexdigest()


def tag(made: Recipe) -> str:
    """Return the image's name: one repository, and the first 20 digits of its fingerprint as the tag."""
    return f"{NAME}:{fingerprint(made)[:20]}"


def labels(made: Recipe) -> dict[str, str]:
    """Return the labels that may hold any text, and so are no part of the Dockerfile, as `MARK` and `PIN` are."""
    digest = made.base.rpartition("@")
    found = {
        "org.opencontainers.image.title": f"{made.stack} ({made.environment})",
        "org.opencontainers.image.base.digest": digest[2],
        f"{NAME}.stack": made.stack,
        f"{NAME}.environment": made.environment,
        f"{NAME}.machine": made.machine,
        f"{NAME}.python": made.python,
    }
    found |= {f"{SOURCE}{package}": text for package, text in made.sources.items()}
    if digest[0]:
        found["org.opencontainers.image.base.name"] = digest[0]
    return found
