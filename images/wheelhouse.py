"""The wheelhouse: wheels that were built from source, each once, in a folder named by all that decides it."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Final, NamedTuple

import msgspec

from images import builder
from images.alone import alone, alone_here
from images.checkout import laid_out
from images.contained import opened_tar
from images.context import CA_BUNDLE, pip_conf, proxies, tarred
from images.engine import BuildFailure, Engine, Wanted
from images.failure import Transcript, failed, unbuilt
from images.git import Repository
from images.recipe import NAME
from images.sources import Commit
from matrix.errors import EngineError, OutsideError
from matrix.evidence.pipconfig import PipConfig
from matrix.evidence.wheelfile import parse_wheel
from matrix.model import Model
from matrix.vocabulary import Machine
from matrix.wholefile import write

_MANIFEST: Final = "wheel.json"
_SOURCE: Final = "source"
_WHEEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl", re.ASCII)
_TAIL: Final = 1 << 20

_CACHES: Final = {"/cache/ccache": f"{NAME}-ccache", "/cache/pip": f"{NAME}-pip"}
"""Volumes of the engine, by where they are in a builder."""

_SCRIPT: Final = """\
set -eu
python{python} -m venv /build/venv
. /build/venv/bin/activate
pip install --require-hashes --no-deps --only-binary :all: --requirement /build/lock.txt
ccache --zero-stats >/dev/null
pip wheel --verbose --no-build-isolation --no-deps --wheel-dir /build/wheelhouse /build/source
ccache --show-stats
"""


class Job(Model, frozen=True, kw_only=True):
    """Everything that decides a wheel. `lock`: what its build needs, a line each with hashes; `cuda`: "13.0", or "".

    `arch_list`: "10.0;12.0", "" without CUDA. `served`: the targets that are promised FP4 kernels by it. `builder`: the fingerprint of the image it is built in.
    """

    source: Commit
    machine: Machine
    python: str
    builder: str
    cuda: str
    torch: str
    arch_list: str
    served: tuple[str, ...] = ()
    variables: dict[str, str]
    lock: tuple[str, ...]

    @property
    def key(self) -> str:
        """20 hex digits over all of it, but not over what the commit was called, nor for whom it is built: the list says."""
        source = msgspec.structs.replace(self.source, ref="")
        content = [_SCRIPT, msgspec.structs.replace(self, source=source, served=())]
        return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:20]


class Built(Model, frozen=True, kw_only=True):
    """A wheel of the wheelhouse. `seconds` it took, with `jobs` compilers at a time."""

    package: str
    version: str
    filename: str
    sha256: str
    seconds: float
    jobs: int
    made: str
    job: Job


class Workshop(NamedTuple):
    """What wheels are built with: an engine and its builder, pip's settings, the surroundings, who is told."""

    engine: Engine
    base: str
    config: PipConfig
    bundle: bytes
    environment: Mapping[str, str]
    tell: Callable[[str], None]
    jobs: int = 0


def there(job: Job, folder: Path) -> Built | None:
    """Return the wheel of a job, None where it was not built."""
    place = folder / job.key
    try:
        built = msgspec.json.decode((place / _MANIFEST).read_bytes(), type=Built)
    except (OSError, msgspec.DecodeError):
        return None  # it is built again
    return built if (place / built.filename).is_file() else None


def make(job: Job, repository: Repository, folder: Path, shop: Workshop, when: str) -> Built:
    """Return the wheel of a job, built where it is not there. `folder` is the wheelhouse.

    Raises EngineError where the build fails, with its last words and where the whole log is; nothing half is left,
    and what was compiled stays in the compiler's cache, so that the next try goes on from there.
    """
    with alone(folder / ".making" / job.key, shop.tell):
        if found := there(job, folder):
            return found
        for name in shop.engine.clear():  # its compilers would have the machine for hours
            shop.tell(f"removed what a dead command left: {name}")
        began = time.monotonic()
        shop.tell(f"building {job.source.package} {job.source.version} ({job.source.merged[:12]})")
        image = have_builder(shop, job.python)
        part = folder / ".making" / job.key / "part"
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            name, jobs = _compiled(job, image, repository, part, shop)
            with (part / name).open("rb") as wheel:
                digest = hashlib.file_digest(wheel, "sha256").hexdigest()
            file = parse_wheel(name, "")
            if file is None or file.package != job.source.package:
                raise EngineError(
                    f"{job.source.package}: its source builds {name}, another package"
                )
            built = Built(
                package=job.source.package,
                version=file.version,
                filename=name,
                sha256=digest,
                seconds=round(time.monotonic() - began, 1),
                jobs=jobs,
                made=when,
                job=job,
            )
            content = msgspec.json.encode(built, order="sorted")
            write(part / _MANIFEST, msgspec.json.format(content, indent=1) + b"\n")
            shutil.rmtree(folder / job.key, ignore_errors=True)
            part.rename(folder / job.key)
        except OSError as error:
            raise OutsideError(f"{folder}: {error.strerror}") from error
    return built


def have_builder(shop: Workshop, python: str) -> str:
    """Return the id of the builder's image, built where it is not there. Raises EngineError where that fails."""
    digits = builder.fingerprint(shop.base, python)
    with alone_here(digits, shop.tell):
        return _builder(shop, python, digits)


def _builder(shop: Workshop, python: str, digits: str) -> str:
    name = builder.tag(shop.base, python)
    if image := shop.engine.image(name):
        return image.id
    shop.engine.base(shop.base, shop.tell)
    shop.tell("making the builder: compilers on top of its base")
    heard, ended = Transcript(), False
    try:
        shop.engine.build(
            builder.context(shop.base, python),
            tag=name,
            labels={},
            arguments=proxies(shop.environment),
            tell=heard.hear,
        )
        ended = True
    except BuildFailure as error:
        ended = True
        raise failed("the builder", heard, str(error), None) from error
    finally:
        shop.engine.sweep(digits, ended=ended)
    image = shop.engine.image(name)
    if image is None:
        raise EngineError(f"{name} was built and is not there: was it removed meanwhile?")
    return image.id


def _compiled(
    job: Job, image: str, repository: Repository, part: Path, shop: Workshop
) -> tuple[str, int]:
    """Build the wheel in a container of its own and bring it into `part`; return its name, and how many jobs it had."""
    memory, processors = shop.engine.size()
    jobs = shop.jobs or builder.jobs(memory, processors)
    log = part.parent / "build.log"
    wanted = Wanted(
        image=image,
        command=("sh", "/build/build.sh"),
        folder="/build",
        environment=_environment(job, shop, jobs),
        folders=_CACHES,
        writable=frozenset(_CACHES),
        network=True,
    )
    with shop.engine.container(wanted) as container:
        with _packed(job, repository) as archive:
            container.put(archive)
        files = {
            "build/build.sh": _SCRIPT.format(python=job.python).encode(),
            "build/lock.txt": ("\n".join(job.lock) + "\n").encode(),
            "build/pip.conf": pip_conf(shop.config).replace("no-cache-dir = true\n", "").encode(),
            "build/ca.pem": shop.bundle,
        }
        container.put(tarred(files))
        with log.open("w", encoding="utf-8") as output:

            def hear(text: str) -> None:
                output.write(text)
                output.flush()

            code = container.follow(hear)
        if code:
            raise unbuilt(job.source.package, _last_words(log), code, jobs, log)
        name = _brought(container.archive("/build/wheelhouse"), part)
    shutil.copyfile(log, part / "build.log")
    return name, jobs


def _last_words(log: Path) -> list[str]:
    """Return the end of a log: of ten thousand lines the first of many compilers that failed is not the last one."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        return [line.strip() for line in file.read().decode(errors="replace").splitlines()]


def _environment(job: Job, shop: Workshop, jobs: int) -> dict[str, str]:
    told = {
        "MAX_JOBS": str(jobs),
        "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs),
        "NVCC_THREADS": "1",
        "SETUPTOOLS_SCM_PRETEND_VERSION": job.source.version,
        "SOURCE_DATE_EPOCH": "946684800",  # 2000-01-01, as the merges
        "CCACHE_DIR": "/cache/ccache",
        "CCACHE_BASEDIR": "/build",
        "CCACHE_NOHASHDIR": "true",
        "CMAKE_CUDA_COMPILER_LAUNCHER": "ccache",
        "PYTORCH_NVCC": "ccache nvcc",
        "PIP_CACHE_DIR": "/cache/pip",
        "PIP_CONFIG_FILE": "/build/pip.conf",
        "HOME": "/build",
        **job.variables,
        **proxies(shop.environment),
    }
    if shop.bundle:
        told |= dict.fromkeys(("SSL_CERT_FILE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE"), CA_BUNDLE)
    return told


@contextlib.contextmanager
def _packed(job: Job, repository: Repository) -> Iterator[IO[bytes]]:
    """Yield a tar of the source with its submodules, each at the commit that the one above names."""
    with TemporaryDirectory(prefix="nvfp4-matrix-") as folder, TemporaryFile() as archive:
        root = Path(folder) / _SOURCE
        laid_out(repository, job.source.merged, root)
        with tarfile.open(fileobj=archive, mode="w") as output:
            output.add(root, arcname=f"build/{_SOURCE}", filter=_plain)
        archive.seek(0)
        yield archive


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mtime = 946684800
    return entry


def _brought(archive: Iterable[bytes], part: Path) -> str:
    """Write the one wheel of a container's folder into `part`; return its name."""
    names: list[str] = []
    with opened_tar(archive) as opened:
        for entry in opened:
            name = entry.name.rpartition("/")[2]
            content: IO[bytes] | None = opened.extractfile(entry) if entry.isreg() else None
            if content is None or not name.endswith(".whl"):
                continue
            if not _WHEEL.fullmatch(name) or names:
                raise EngineError(f"the build made {name[:80]!r}, and one wheel was wanted")
            names.append(name)
            with (part / name).open("wb") as output:
                shutil.copyfileobj(content, output)
    if not names:
        raise EngineError("the build made no wheel")
    return names[0]
