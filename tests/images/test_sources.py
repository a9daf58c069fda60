"""What a source is, exactly: looked up once, the same everywhere, and never taken on trust."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from images import builder, sources, wheelhouse
from images.failure import unbuilt
from images.sources import Commit
from images.wheelhouse import Built, Job
from matrix.errors import ConfigurationError, EngineError, NotFoundError, OutsideError
from matrix.evidence.wheelfile import parse_wheel
from matrix.pin import Source

BASE = f"ubuntu@sha256:{'0' * 64}"
COMMIT = Commit(
    package="vllm",
    repository="https://host/vllm",
    ref="main",
    commit="a" * 40,
    merged="a" * 40,
    tree="b" * 40,
    version="0.33.1.dev7+gaaaaaaaaa",
)
JOB = Job(
    source=COMMIT,
    machine="x86_64",
    python="3.12",
    builder="f" * 64,
    cuda="13.0",
    torch="2.14.0",
    arch_list="12.0",
    served=("sm120",),
    variables={"TORCH_CUDA_ARCH_LIST": "12.0"},
    lock=("ninja==1.13",),
)


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=someone", "-c", "user.email=someone@x"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    folder = tmp_path / "upstream"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "a.txt").write_text("a\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "one")
    git(folder, "checkout", "--quiet", "--detach")
    (folder / "b.txt").write_text("b\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "pull")
    git(folder, "update-ref", "refs/pull/7/head", "HEAD")
    git(folder, "checkout", "--quiet", "main")
    return folder


def kept(
    upstream: Path, folder: Path, pin: str = "@main + #7", **changes: Any
) -> sources.SourceLock:
    number = (7,) if "#7" in pin else ()
    told: list[str] = []
    return sources.kept(
        "mine",
        {"vllm": Source(ref=pin[1:].partition(" ")[0], pulls=number)},
        {"vllm": str(upstream)},
        folder,
        **{"when": "2026-01-01T00:00:00Z", "tell": told.append, **changes},
    )


def test_a_source_is_looked_up_once(upstream: Path, tmp_path: Path) -> None:
    first = kept(upstream, tmp_path / "kept")
    (source,) = first.sources
    assert (source.ref, source.commit) == ("main", git(upstream, "rev-parse", "main"))
    assert source.pulls[0].commit == git(upstream, "rev-parse", "refs/pull/7/head")
    assert source.version.endswith(f"+g{source.commit[:9]}.t{source.tree[:8]}")
    git(upstream, "commit", "--quiet", "--allow-empty", "-m", "two")
    later = {"when": "2026-02-02T00:00:00Z"}
    assert kept(upstream, tmp_path / "kept", **later) == first
    again = kept(upstream, tmp_path / "kept", again=True, **later)
    assert again.resolved == "2026-02-02T00:00:00Z"
    assert again.sources[0].commit == git(upstream, "rev-parse", "main") != source.commit
    assert kept(upstream, tmp_path / "kept", "@main").sources[0].pulls == ()


def test_the_lock_is_text_that_stays_as_it_is(upstream: Path, tmp_path: Path) -> None:
    kept(upstream, tmp_path / "one")
    kept(upstream, tmp_path / "two")
    texts = [
        (tmp_path / name / "locks" / "mine.sources.json").read_text() for name in ("one", "two")
    ]
    assert texts[0] == texts[1]
    assert list(json.loads(texts[0])["sources"][0]) == sorted(json.loads(texts[0])["sources"][0])


def test_a_lock_of_another_machine_is_brought_here_and_checked(
    upstream: Path, tmp_path: Path
) -> None:
    (source,) = kept(upstream, tmp_path / "there").sources
    assert sources.present(source, tmp_path / "here").text(source.merged, "b.txt") == "b\n"
    false = msgspec.structs.replace(source, merged="c" * 40)
    with pytest.raises(OutsideError, match="the lock says cccccccccccc"):
        sources.present(false, tmp_path / "elsewhere")


def test_a_damaged_lock_is_told(upstream: Path, tmp_path: Path) -> None:
    kept(upstream, tmp_path)
    (tmp_path / "locks" / "mine.sources.json").write_text("{")
    with pytest.raises(ConfigurationError, match="--relock makes it again"):
        kept(upstream, tmp_path)


def test_a_package_without_a_known_source_says_where_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="write it as a stack with repositories"):
        sources.kept("x", {"other": Source(ref="main")}, {}, tmp_path, when="", tell=lambda _: None)


def test_a_pull_request_that_is_not_there_keeps_no_lock(upstream: Path, tmp_path: Path) -> None:
    git(upstream, "update-ref", "-d", "refs/pull/7/head")
    with pytest.raises(NotFoundError):
        kept(upstream, tmp_path)
    assert not (tmp_path / "locks").exists()


@pytest.mark.parametrize(
    ("tag", "beyond", "tree", "version"),
    [
        ("v0.33.0", 0, "", "0.33.0+gaaaaaaaaa"),
        ("v0.33.0", 7, "", "0.33.1.dev7+gaaaaaaaaa"),
        ("v0.34.0rc1", 7, "", "0.34.0.dev7+gaaaaaaaaa"),
        ("v0.33.0", 0, "b" * 40, "0.33.0+gaaaaaaaaa.tbbbbbbbb"),
        ("", 3, "", "0.1.dev3+gaaaaaaaaa"),
        ("vnext", 0, "", "0.1.dev1+gaaaaaaaaa"),
    ],
)
def test_a_commit_has_the_version_of_the_release_after_its_tag(
    tag: str, beyond: int, tree: str, version: str
) -> None:
    assert sources.version(tag, beyond, "a" * 40, tree) == version


def test_what_a_build_needs_is_what_its_project_says() -> None:
    assert sources.requirements('[build-system]\nrequires = ["a>=1"]', "x") == ("a>=1",)
    assert sources.requirements("", "x") == ("setuptools", "wheel")
    with pytest.raises(ConfigurationError, match=r"x: its pyproject\.toml cannot be read"):
        sources.requirements("[", "x")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"arch_list": "10.0;12.0"}, False),
        ({"cuda": "12.9"}, False),
        ({"torch": "2.13.0"}, False),
        ({"python": "3.11"}, False),
        ({"machine": "aarch64"}, False),
        ({"builder": "0" * 64}, False),
        ({"lock": ("ninja==1.14",)}, False),
        ({"source": msgspec.structs.replace(COMMIT, tree="c" * 40)}, False),
        ({"source": msgspec.structs.replace(COMMIT, repository="https://host/fork")}, False),
        ({"source": msgspec.structs.replace(COMMIT, ref="a" * 40)}, True),
        ({"served": ("sm120", "sm121")}, True),
    ],
)
def test_a_wheels_place_is_named_by_all_that_decides_it(change: dict[str, Any], same: bool) -> None:
    assert (msgspec.structs.replace(JOB, **change).key == JOB.key) is same


def test_a_wheel_is_there_with_its_manifest_or_not_at_all(tmp_path: Path) -> None:
    assert wheelhouse.there(JOB, tmp_path) is None
    place = tmp_path / JOB.key
    place.mkdir()
    built = Built(
        package="vllm",
        version=COMMIT.version,
        filename="vllm-1.whl",
        sha256="0" * 64,
        seconds=1.0,
        jobs=2,
        made="2026-01-01T00:00:00Z",
        job=JOB,
    )
    (place / "wheel.json").write_bytes(msgspec.json.encode(built))
    assert wheelhouse.there(JOB, tmp_path) is None
    (place / "vllm-1.whl").touch()
    assert wheelhouse.there(JOB, tmp_path) == built
    (place / "wheel.json").write_text("{")
    assert wheelhouse.there(JOB, tmp_path) is None


def tarred(*names: str) -> list[bytes]:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name in names:
            entry = tarfile.TarInfo(f"wheelhouse/{name}")
            entry.size = 1
            archive.addfile(entry, io.BytesIO(b"x"))
    return [output.getvalue()]


def test_the_one_wheel_of_a_build_is_brought(tmp_path: Path) -> None:
    name = "vllm-0.33.1.dev7+gabc-cp312-cp312-linux_x86_64.whl"
    assert wheelhouse._brought(tarred("notes.txt", name), tmp_path) == name
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert parse_wheel(name, "") is not None


@pytest.mark.parametrize(
    "names", [(), ("a-1-py3-none-any.whl", "b-1-py3-none-any.whl"), ("a b.whl",)]
)
def test_what_is_not_one_wheel_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="the build made"):
        wheelhouse._brought(tarred(*names), tmp_path)


@pytest.mark.parametrize(
    ("gigabytes", "processors", "jobs"),
    [(8, 16, 1), (2, 1, 1), (64, 4, 4), (64, 64, 12), (1, 8, 1)],
)
def test_there_are_as_many_compilers_as_memory_and_processors_admit(
    gigabytes: int, processors: int, jobs: int
) -> None:
    assert builder.jobs(gigabytes << 30, processors) == jobs


def test_the_builder_stands_on_a_base_by_digest() -> None:
    assert f"FROM {BASE}\n" in builder.dockerfile(BASE, "3.12")
    assert builder.tag(BASE, "3.12") != builder.tag(BASE, "3.11")
    for base, python in (("ubuntu:24.04", "3.12"), (f"{BASE}\nRUN id", "3.12"), (BASE, "3.12; id")):
        with pytest.raises(ConfigurationError):
            builder.tag(base, python)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["a.cu(3): error: no such thing", "ok", "more", "last"],
            1,
            "a.cu(3): error: no such thing",
        ),
        (["x.cpp:1:2: fatal error: y.h: No such file", "z"], 1, "x.cpp:1:2: fatal error: y.h"),
        (
            ["c++: fatal error: Killed signal terminated program cc1plus"],
            1,
            "with 8 jobs: --jobs 4",
        ),
        (["[3/90] Building"], 137, "with 8 jobs: --jobs 4"),
        (["CMake Error at CMakeLists.txt:3"], 1, "CMake Error at CMakeLists.txt:3"),
        ([], 2, "it ended with 2"),
    ],
)
def test_a_build_that_fails_tells_what_the_compiler_said_first(
    words: list[str], code: int, said: str
) -> None:
    error = str(unbuilt("vllm", words, code, 8, Path("/kept/build.log")))
    assert said in error
    assert error.endswith("the whole log: /kept/build.log")
    assert "what was compiled is kept for the next try" in error
