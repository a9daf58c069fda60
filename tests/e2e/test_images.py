"""Images in a real Docker engine, from an index that containers reach, on a base made on the spot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from jsonschema import Draft202012Validator

from matrix import schemas
from tests.e2e.builds import HOSTILE, Build, Unbuilt, line, ran, told

if TYPE_CHECKING:
    from tests.conftest import MakeWheel, Shelf

pytestmark = pytest.mark.docker


@pytest.fixture
def address(bridge: str) -> str:
    """Where the shelf listens: containers have to reach it."""
    return bridge


@pytest.mark.usefixtures("tiny")
def test_a_stack_becomes_an_image_and_a_second_build_does_nothing(
    build: Build, unbuilt: Unbuilt, engine: Any, base: str, tmp_path: Path
) -> None:
    unbuilt("tiny")
    first = told(build("tiny", "--json"))
    schema = json.loads(schemas.path("build").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(first)
    assert first["built"] is True
    assert first["pins"] == {"tiny": "1.0", "other": "2.5", "pytest": "9.0"}
    assert first["differences"] == []
    assert [each["package"] for each in first["audited"]] == ["tiny"]
    image = engine.images.get(first["image"])
    assert image.id == first["id"]
    assert image.labels["nvfp4-matrix.fingerprint"] == first["fingerprint"]
    assert image.labels["nvfp4-matrix.pin.tiny"] == "1.0"
    assert image.labels["nvfp4-matrix.pin.other"] == "2.5"
    assert image.labels["org.opencontainers.image.base.digest"] == base
    kept = tmp_path / "kept" / first["fingerprint"][:20]
    assert {"Dockerfile", "lock.txt", "freeze.txt", "sbom.json", "build.log", "report.json"} <= {
        file.name for file in kept.iterdir()
    }
    assert {"tiny==1.0", "other==2.5"} <= {*(kept / "freeze.txt").read_text().splitlines()}

    bill = (kept / "sbom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    purls = {each["purl"].partition("?")[0] for each in json.loads(bill)["components"]}
    assert {"pkg:pypi/tiny@1.0", "pkg:pypi/other@2.5", f"pkg:oci/base@{base}"} <= purls
    assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in purls)
    (kept / "report.json").unlink()  # so that it is examined again
    first = {**told(build("tiny", "--json")), "seconds": {}}
    assert (kept / "sbom.json").read_text() == bill

    # Of a processor, for the machine may be busy with something else: `nox -s bench` tells what a user waits.
    began = os.times()
    assert told(build("tiny", "--json")) == {**first, "built": False, "seconds": {}}
    ended = os.times()
    took = sum(ended[2:4]) - sum(began[2:4])  # of children, user's and system's
    assert took < 1, took


@pytest.mark.usefixtures("tiny")
def test_an_image_runs_as_nobody_special_and_cannot_change_its_stack(
    build: Build, engine: Any
) -> None:
    image = told(build("tiny", "--json"))["image"]
    assert (
        ran(engine, image, "id -u; python -c 'import tiny, other; print(tiny.x + other.y)'")
        == "10001\n3"
    )
    assert (
        ran(engine, image, "touch ~/here && echo yes; touch /opt/stack/x 2>/dev/null || echo no")
        == "yes\nno"
    )


@pytest.mark.usefixtures("tiny")
def test_neither_index_nor_login_nor_certificates_are_in_the_image(
    build: Build, unbuilt: Unbuilt, engine: Any, tmp_path: Path
) -> None:
    unbuilt("tiny")
    bundle = tmp_path / "ca.pem"
    bundle.write_text(
        "-----BEGIN CERTIFICATE-----\nCERTIFICATE-OF-THE-NETWORK\n-----END CERTIFICATE-----\n"
    )
    # pip does not read the bundle for an index without TLS; where it is sent is what matters.
    done = build("tiny", "--json", "--ca-bundle", str(bundle))
    image = engine.images.get(told(done)["image"])
    whole = b"".join(image.save())
    for secret in (b"s3cret", b"CERTIFICATE-OF-THE-NETWORK", b"/build/pip.conf"):
        assert secret not in whole
    assert b"tiny-1.0.dist-info" in whole


@pytest.mark.usefixtures("tiny")
def test_a_name_is_a_label_and_never_an_instruction(build: Build, engine: Any) -> None:
    made = told(build(HOSTILE, "--json"))
    image = engine.images.get(made["image"])
    assert image.labels["nvfp4-matrix.stack"] == HOSTILE
    assert ran(engine, made["image"], "ls /") == ran(
        engine, told(build("tiny", "--json"))["image"], "ls /"
    )


def test_a_real_stack_is_installed_from_the_index(build: Build, engine: Any) -> None:
    """With a compiled part, by version, from the index and with the certificates that pip is told of."""
    made = told(build("real", "--json"))
    assert made["installed"]["MarkupSafe"] == "3.0.2"
    assert made["differences"] == []
    script = "import jinja2, markupsafe._speedups; print(jinja2.Template('{{ 6 * 7 }}').render())"
    assert ran(engine, made["image"], f'python -c "{script}"') == "42"


def test_a_base_without_the_python_gets_it(build: Build, tiny: Shelf) -> None:
    del tiny
    done = build("tiny", "--python", "3.7")
    error = line(done, 3)
    assert 'the build failed at "RUN python3.7 -c' in error
    assert "take another --base or --python" in error


def test_a_stack_that_lost_its_kernels_and_chooses_otherwise_is_told(
    build: Build, index: Shelf, make_wheel: MakeWheel
) -> None:
    """Wheels that stand for a release of which the ledger knows what it holds and chooses."""
    folder = Path(__file__).parents[1] / "stack"
    bodies: dict[str, dict[str, bytes]] = {}
    for file in folder.rglob("*.py"):
        name = str(file.relative_to(folder))
        bodies.setdefault(name.partition("/")[0], {})[name] = file.read_bytes()
    pins = {"torch": "2.14.0", "flashinfer-python": "0.7.2.post1"}
    requires = [f"{name}=={version}" for name, version in pins.items()]
    index.add(make_wheel("vllm", "0.33.0", bodies["vllm"], requires=requires))
    for name, version in pins.items():
        index.add(make_wheel(name, version, bodies[name.partition("-")[0]]))
    made = told(build("vllm==0.33.0", "--json", "--target", "sm120"), 1)
    lost = {(each["kind"], each["what"], each["target"]) for each in made["differences"]}
    assert ("compiled", "vllm gemm", "sm120") in lost
    assert ("selected", "dense_w4a4", "sm120") in lost
    assert made["asked"]["choices"]["sm120"]["dense_w4a4"] == "MarlinNvFp4LinearKernel"
    again = build("vllm==0.33.0", "--target", "sm120")
    assert again.returncode == 1
    assert "was there, nothing was built" in again.stdout
    assert "differences from what was promised" in again.stdout


def test_a_build_that_fails_tells_its_last_words_the_log_and_what_to_do(
    build: Build, unbuilt: Unbuilt, tiny: Shelf, engine: Any
) -> None:
    unbuilt("tiny")
    tiny.wheels.pop("other-2.5-py3-none-any.whl")  # after it was locked
    error = line(build("tiny"), 3)
    assert error.startswith("nvfp4-matrix: tiny: the build failed at 'RUN python3.11 -m venv")
    assert "ERROR: No matching distribution found for other==2.5" in error
    assert "--relock" in error
    log = Path(error.rpartition("the whole log: ")[2])
    assert "other" in log.read_text()
    assert engine.api.images(f"nvfp4-matrix:{log.parent.name}") == []


def test_an_image_that_lacks_the_compiler_of_its_environment_is_not_made(
    build: Build, index: Shelf, make_wheel: MakeWheel
) -> None:
    for package, version in (
        ("tiny", "1.0"),
        ("ninja", "1.13"),
        ("nvidia-cuda-runtime", "13.0.96"),
    ):
        requires = ["nvidia-cuda-runtime"] if package == "tiny" else []
        index.add(make_wheel(package, version, requires=requires))
    error = line(build("tiny", "--environment", "devel"), 3)
    assert "nvcc: not found; `devel` needs a base with nvcc" in error


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["absent"], 2, "tiny==9.9 cannot be locked for x86_64: there is no version of tiny==9.9"),
        (["tiny", "--base", f"sha256:{'0' * 64}"], 2, "no such image here"),
        (["tiny", "--base", f"localhost:1/none@sha256:{'0' * 64}"], 3, "cannot be pulled"),
        (["tiny", "--ca-bundle", "/dev/null"], 2, "no bundle of certificates"),
        (["tiny", "--ca-bundle", "/gone.pem"], 2, "/gone.pem: No such file"),
        (["tiny", "--environment", "devel"], 2, "which CUDA"),
    ],
)
def test_what_cannot_be_built_is_one_line(
    build: Build, tiny: Shelf, make_wheel: MakeWheel, *, more: list[str], code: int, said: str
) -> None:
    tiny.add(make_wheel("ninja", "1.13"))
    assert said in line(build(*more), code)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_build_leaves_nothing_and_the_next_one_is_whole(
    build: Build, unbuilt: Unbuilt, arguments: list[str], tiny: Shelf, *, number: int, code: int
) -> None:
    unbuilt("tiny")
    tiny.hanging.clear()
    tiny.hang.clear()
    with subprocess.Popen(
        [*arguments, "tiny"], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        try:
            assert tiny.hanging.wait(60)
            process.send_signal(number)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == code, err
    assert "Traceback" not in err
    tiny.hang.set()
    assert told(build("tiny", "--json"))["built"] is True


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("folder", ["kept", "others"])
def test_of_two_that_want_the_same_image_one_builds(
    unbuilt: Unbuilt, arguments: list[str], tmp_path: Path, folder: str
) -> None:
    """In one checkout, and in two of one machine: an engine gives both the same intermediate images."""
    unbuilt("tiny")
    if folder != "kept":
        shutil.copytree(tmp_path / "kept", tmp_path / folder)
    first = [*arguments, "tiny", "--json"]
    second = [*first, "--kept", str(tmp_path / folder)]
    with (
        subprocess.Popen(first, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as one,
        subprocess.Popen(second, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as two,
    ):
        reports: list[Mapping[str, Any]] = [
            json.loads(each.communicate()[0]) for each in (one, two)
        ]
    assert len({report["id"] for report in reports}) == 1
    assert sorted(report["built"] for report in reports) == [False, True]
