"""Locks by the real uv from an index on loopback, installed by the real pip."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import tarfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Command, MakeWheel, Shelf

pytestmark = pytest.mark.e2e

PATIENCE = 30.0
TARGETS = {"x86_64": "sm120", "aarch64": "sm121"}
HERE = platform.machine()
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
NATIVE = "cp38-abi3-manylinux_2_31_"
STACK = ("--need", "gemm", "--stack", "vllm==0.33.0", "--python", PYTHON)
"""A release that the ledger knows; the index has another, tiny one by that name."""
REQUIRES = (
    "Torch == 2.14.0",
    "spark.only >= 1; platform_machine == 'aarch64'",
    "card_only >= 1; platform_machine == 'x86_64'",
    "windows-only; sys_platform == 'win32'",
    "many < 3",
    "extra-only; extra == 'audio'",
)
COMMON = {"vllm": "0.33.0", "torch": "2.14.0", "many": "2.0"}
TREES = {
    "x86_64": COMMON | {"card-only": "1.0"},
    "aarch64": COMMON | {"spark-only": "1.0", "deep": "0.1"},
}


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, which every command leaves as it was."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def index(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """The shelf under a URL with credentials; uv knows nothing of it yet."""
    monkeypatch.setenv("PIP_INDEX_URL", f"{shelf.base}/simple".replace("//", "//user:secret@"))
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return shelf


@pytest.fixture
def tree(index: Shelf, make_wheel: MakeWheel) -> Shelf:
    """The index with a tree of wheels."""
    for machine in TARGETS:
        body = {"vllm/__init__.py": f"machine = {machine!r}\n".encode()}
        index.add(make_wheel("vllm", "0.33.0", body, tag=NATIVE + machine, requires=REQUIRES))
    for version in ("1.0", "2.0", "2.1rc1", "3.0"):
        index.add(make_wheel("many", version, {"many.py": b"version = " + repr(version).encode()}))
    index.add(make_wheel("torch", "2.14.0", {"torch.py": b""}))
    index.add(make_wheel("spark-only", "1.0", {"spark.py": b""}, requires=["deep"]))
    index.add(make_wheel("card-only", "1.0", {"card.py": b""}))
    for package in ("deep", "extra-only", "windows-only"):
        index.add(make_wheel(package, "0.1"))
    return index


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "requirements.txt"


@pytest.fixture(autouse=True)
def _alone(file: Path) -> Iterator[None]:
    """Nothing but the lock may stand in its folder."""
    file.parent.mkdir()
    yield
    assert {path.name for path in file.parent.iterdir()} <= {file.name}


def pinned(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", file.read_text("utf-8"), re.MULTILINE))


def lock(command: Command, file: Path, *more: str, machine: str = HERE) -> tuple[int, str]:
    """Lock for one machine; returns exit code and stderr."""
    code, _, err = command("pins", "--target", TARGETS[machine], *STACK, "--lock", file, *more)
    return code, err


def refuse(told: tuple[int, str], code: int) -> str:
    """Demand one line on stderr; return it."""
    assert told[0] == code
    assert told[1].startswith("nvfp4-matrix: ")
    assert told[1].count("\n") == 1
    assert told[1][:-1].isprintable()
    assert "secret" not in told[1]
    return told[1][:-1].removeprefix("nvfp4-matrix: ")


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("machine", list(TREES))
def test_the_tree_of_each_machine_is_locked_with_every_hash(
    command: Command, file: Path, tree: Shelf, machine: str
) -> None:
    code, err = lock(command, file, machine=machine)
    assert code == 0
    assert f"{file}: {len(TREES[machine])} packages\n" in err
    assert "flashinfer-python absent, judged with" in err
    text = file.read_text("utf-8")
    assert pinned(file) == TREES[machine]
    assert text.startswith(f"# vllm==0.33.0 for {TARGETS[machine]} (")
    assert f" on {machine}: CPython {PYTHON}, glibc 2.35 or newer\n" in text
    assert all(line.startswith(("#", " ")) or "==" in line for line in text.splitlines())
    assert text.count("--hash=sha256:") == len(TREES[machine]) + 1  # vllm has two wheels
    for word in ("127.0.0.1", str(tree.server_address[1]), "user", "secret", "http"):
        assert word not in text


@pytest.mark.usefixtures("tree")
def test_two_locks_of_one_tree_are_the_same(command: Command, file: Path) -> None:
    texts = []
    for _ in range(2):
        assert lock(command, file)[0] == 0
        texts.append(file.read_text("utf-8"))
    assert texts[0] == texts[1]


@pytest.mark.usefixtures("tree")
def test_an_override_wins_over_what_a_package_requires(command: Command, file: Path) -> None:
    assert lock(command, file, "--override", "many==3.0")[0] == 0
    assert pinned(file) == TREES[HERE] | {"many": "3.0"}


@pytest.mark.usefixtures("tree")
def test_neither_settings_of_uv_nor_an_empty_path_change_the_lock(
    command: Command, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in (
        ("PATH", "/none"),
        ("VIRTUAL_ENV", "/none"),
        ("UV_PRERELEASE", "allow"),
        ("UV_EXCLUDE_NEWER", "2001-01-01"),
        ("UV_INDEX_URL", "http://127.0.0.1:9/simple"),
        ("UV_OVERRIDE", str(tmp_path / "none.txt")),
    ):
        monkeypatch.setenv(name, value)
    assert lock(command, file)[0] == 0
    assert pinned(file) == TREES[HERE]


def source(index: Shelf, place: Path) -> None:
    """Put a source release, whose metadata are final, on the shelf: no wheel of it exists."""
    path = place / "odd-1.0.tar.gz"
    body = b"Metadata-Version: 2.2\nName: odd\nVersion: 1.0\nRequires-Dist: deep\n"
    with tarfile.open(path, "w:gz") as file:
        for name, content in (("PKG-INFO", body), ("pyproject.toml", b"")):
            member = tarfile.TarInfo(f"odd-1.0/{name}")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    index.add(path)


def test_a_source_release_is_locked_only_where_it_is_allowed(
    command: Command, file: Path, tree: Shelf, make_wheel: MakeWheel, tmp_path: Path
) -> None:
    source(tree, tmp_path)
    tree.add(make_wheel("vllm", "0.33.0", tag=NATIVE + HERE, requires=["odd"]))
    line = refuse(lock(command, file), 2)
    assert line.startswith(
        f"vllm==0.33.0 cannot be locked for {HERE}: odd==1.0 has no usable wheels"
    )
    assert line.endswith(
        f"; odd has no wheel for {HERE}, Python {PYTHON} and glibc 2.39 or older: "
        "--allow-source locks source releases too, which pip then builds"
    )
    assert not file.exists()
    assert lock(command, file, "--allow-source")[0] == 0
    assert pinned(file) == {"vllm": "0.33.0", "odd": "1.0", "deep": "0.1"}


# What pip makes of it


@pytest.fixture(scope="module")
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


@pytest.fixture
def pip(_environment: Path, tmp_path: Path) -> tuple[list[str], Path]:
    """The command of a fresh environment's pip as the lock's header gives it, and where it installs."""
    place = tmp_path / "installed"
    command = [str(_environment), "-m", "pip", "install", "--no-cache-dir", "--target", str(place)]
    return [*command, "--require-hashes", "--no-deps", "-r"], place


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.usefixtures("tree")
def test_pip_installs_the_lock_and_nothing_else(
    command: Command, file: Path, pip: tuple[list[str], Path]
) -> None:
    assert lock(command, file)[0] == 0
    line = next(line for line in file.read_text("utf-8").splitlines() if "Install:" in line)
    install, place = pip
    assert line.endswith(f" {' '.join(install[-3:])} {file.name}")
    done = run([*install, str(file)])
    assert done.returncode == 0, done.stderr
    listed = run([*install[:3], "list", "--format=json", "--path", str(place)])
    packages: list[dict[str, Any]] = json.loads(listed.stdout)
    assert {each["name"].lower(): each["version"] for each in packages} == TREES[HERE]
    assert (place / "vllm" / "__init__.py").read_text() == f"machine = {HERE!r}\n"
    assert (place / "many.py").read_text() == "version = '2.0'"


def test_pip_refuses_a_wheel_that_was_changed_after_the_lock(
    command: Command, file: Path, tree: Shelf, make_wheel: MakeWheel, pip: tuple[list[str], Path]
) -> None:
    assert lock(command, file)[0] == 0
    tree.add(make_wheel("many", "2.0", {"many.py": b"import os"}))
    install, place = pip
    done = run([*install, str(file)])
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not place.exists()


# What fails


@pytest.fixture(params=[False, True])
def old(request: pytest.FixtureRequest, file: Path) -> Iterator[None]:
    """With and without a lock from before: it has to stay as it was."""
    if request.param:
        file.write_text("old", "utf-8")
    yield
    assert [path.read_text("utf-8") for path in file.parent.iterdir()] == ["old"] * request.param


@pytest.mark.usefixtures("old")
def test_a_tree_without_a_solution_is_told_in_one_line(
    command: Command,
    file: Path,
    index: Shelf,
    make_wheel: MakeWheel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("RUST_LOG", "debug")
    requires = ["many>=2", "other"]
    index.add(make_wheel("vllm", "0.33.0", tag=NATIVE + HERE, requires=requires))
    index.add(make_wheel("other", "1.0", requires=["many<2"]))
    for version in ("1.0", "2.0"):
        index.add(make_wheel("many", version))
    line = refuse(lock(command, file), 2)
    assert line.startswith(f"vllm==0.33.0 cannot be locked for {HERE}: ")
    assert "many" in line
    assert line.endswith(
        "; try another release, another --python, or --override for one requirement"
    )


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize(
    ("requires", "told"),
    [
        ("ghost", "ghost was not found in the package registry"),
        ("many==9", "there is no version of many==9"),
        ("many @ {url}", "many"),
    ],
)
def test_a_requirement_that_the_index_cannot_meet_is_named(
    command: Command, file: Path, index: Shelf, make_wheel: MakeWheel, *, requires: str, told: str
) -> None:
    url = index.add(make_wheel("many", "1.0"))
    requirement = requires.format(url=url)
    index.add(make_wheel("vllm", "0.33.0", tag=NATIVE + HERE, requires=[requirement]))
    assert told in refuse(lock(command, file), 2)


@pytest.mark.usefixtures("old")
def test_a_package_for_another_machine_only_is_named_with_the_way_out(
    command: Command, file: Path, index: Shelf, make_wheel: MakeWheel
) -> None:
    index.add(make_wheel("vllm", "0.33.0", tag=f"{NATIVE}ppc64le"))
    line = refuse(lock(command, file), 2)
    assert line.startswith(f"vllm==0.33.0 cannot be locked for {HERE}: ")
    assert "vllm==0.33.0 has no wheels with a matching platform tag" in line


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("what", ["page", "nobody", "wheel"])
def test_an_index_that_fails_is_exit_3(
    command: Command, file: Path, tree: Shelf, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what == "page":
        tree.page = (500, "text/plain", b"")
    elif what == "nobody":
        monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    else:
        tree.wheels[f"vllm-0.33.0-{NATIVE}{HERE}.whl"] = b"nonsense"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert refuse(lock(command, file), 3).startswith("uv: Failed to ")


@pytest.mark.usefixtures("old")
def test_a_full_disk_is_exit_3(
    command: Command, file: Path, tree: Shelf, make_wheel: MakeWheel
) -> None:
    """No file of more than 100 kB can be written: what EFBIG says here, ENOSPC would say elsewhere."""
    large = b"Metadata-Version: 2.1\nName: torch\nVersion: 2.14.0\n\n" + b"text\n" * 100_000
    tree.add(make_wheel("torch", "2.14.0", metadata=large))
    for number in range(1_500):
        tree.wheels[f"many-2.0-{number}-py3-none-any.whl"] = b"x%d" % number
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        told = lock(command, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refuse(told, 3) == "uv was ended: File size limit exceeded"


def until(there: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_lock_leaves_neither_uv_nor_a_file(
    file: Path, tree: Shelf, number: int, code: int
) -> None:
    tree.hang.clear()
    arguments = ["pins", "--target", TARGETS[HERE], *STACK, "--lock", str(file)]
    script = "from reports.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    ) as process:
        try:
            until(tree.hanging.is_set)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert len(children) == 1
            process.send_signal(number)
            _, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == code
    assert "Traceback" not in err
    until(lambda: not Path("/proc", children[0]).exists())
