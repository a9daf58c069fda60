"""What several of these tests stand on, and what is made once."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

from images.engine import Engine
from matrix.errors import EngineError
from matrix.evidence.fresh import fresh
from tests.e2e.builds import PYTHON, STACKS, Build, Unbuilt, leftovers, told

if TYPE_CHECKING:
    from tests.conftest import MakeWheel, Shelf

RELEASE = "0.33.0"
BASE = "nvfp4-matrix-tests"
"""The repository of what is made once for an engine, and stays."""


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """The real vLLM, 9 GB."""
    with fresh(f"vllm=={RELEASE}") as made:
        yield made.python.parents[1]


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """The engine; where none answers these tests fail, and whoever wants no such test says `-m "not docker"`."""
    try:
        Engine.connect().__exit__()
    except EngineError as error:
        pytest.fail(f"{error} (.ci/engine COMMAND starts one for a command)", pytrace=False)
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def base(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the digest of a Debian with a Python, made by debootstrap once for an engine: 45 to 75 s."""
    if not engine.api.images(f"{BASE}:base"):
        folder = tmp_path_factory.mktemp("base")
        made = ["debootstrap", "--variant=minbase", "--include=python3-venv,ca-certificates"]
        subprocess.run([*made, "bookworm", folder / "root"], check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(folder / "root.tar", "w") as archive:
            archive.add(folder / "root", arcname=".")
        engine.api.import_image_from_file(str(folder / "root.tar"), repository=BASE, tag="base")
        subprocess.run(["rm", "-rf", folder], check=True)
    digest: str = engine.images.get(f"{BASE}:base").id
    return digest


@pytest.fixture(scope="session")
def bridge(engine: Any) -> str:
    """Return where containers reach this machine: the first address of the engine's bridge."""
    (found,) = engine.networks.list(names=["bridge"])
    return str(next(ip_network(found.attrs["IPAM"]["Config"][0]["Subnet"]).hosts()))


@pytest.fixture
def index(
    shelf: Shelf, bridge: str, make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> Shelf:
    """The shelf under a login, and without TLS; it has what every lock asks for."""
    shelf.add(make_wheel("pytest", "9.0"))
    url = f"{shelf.base}/simple"
    monkeypatch.setenv("PIP_INDEX_URL", url.replace("//", "//someone:s3cret@"))
    monkeypatch.setenv("PIP_TRUSTED_HOST", bridge)
    return shelf


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    file = tmp_path / "stacks.yaml"
    file.write_text(STACKS)
    return file


@pytest.fixture
def arguments(base: str, stacks: Path, tmp_path: Path) -> list[str]:
    command = [sys.executable, "-c", "from reports.cli import main; main()", "build"]
    command += ["--base", base, "--python", PYTHON, "--stacks", str(stacks)]
    return [*command, "--kept", str(tmp_path / "kept")]


@pytest.fixture(scope="session")
def built(engine: Any) -> Iterator[set[str]]:
    """The names of all images that tests had built: they stay for the next test, and go with the last one."""
    names: set[str] = set()
    yield names
    for name in names:
        if engine.api.images(name):
            engine.images.remove(name, force=True)


@pytest.fixture
def build(arguments: list[str], engine: Any, built: set[str], tmp_path: Path) -> Iterator[Build]:
    """Run `build`, with nothing kept of an earlier test; of a build nothing but its image may be left."""

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*arguments, *more], capture_output=True, text=True, check=False)

    yield run
    assert leftovers(engine, tmp_path / "kept") == []
    built |= {f"nvfp4-matrix:{folder.name}" for folder in (tmp_path / "kept").glob("*/")}


@pytest.fixture
def unbuilt(build: Build, engine: Any, built: set[str]) -> Unbuilt:
    """Make the lock of what the arguments say, and see to it that no earlier test's image is there."""

    def run(stack: str, *arguments: str) -> None:
        told(build(stack, *arguments, "--lock-only", "--json"))
        for name in built:
            for each in engine.api.images(name):
                if each["Labels"]["nvfp4-matrix.stack"] == stack:
                    engine.images.remove(name, force=True)

    return run


@pytest.fixture
def tiny(index: Shelf, make_wheel: MakeWheel) -> Shelf:
    index.add(make_wheel("tiny", "1.0", {"tiny.py": b"x = 1\n"}, requires=["other>=2"]))
    index.add(make_wheel("other", "2.5", {"other.py": b"y = 2\n"}))
    return index
