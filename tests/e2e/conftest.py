"""What several of these tests stand on, and what is made once."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import docker
import pytest

from images.engine import Engine
from matrix.errors import EngineError
from matrix.evidence.fresh import fresh

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
    if not engine.images.list(BASE):
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
