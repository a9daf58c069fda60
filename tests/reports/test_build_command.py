"""What `build` refuses, or says, where no image can be made: no engine is needed here."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator
from pytest_httpserver import HTTPServer

from images.engine import Engine
from matrix import schemas
from matrix.errors import EngineError
from matrix.image import Asked, AuditedPackage, Difference, ImageReport
from reports.image import render

Command = Callable[..., tuple[int, str, str]]

BASE = f"sha256:{'0' * 64}"
BUILD = ("build", "vllm==0.33.0", "--base", BASE)
VERSION = {"Version": "20.10.24", "ApiVersion": "1.41", "Arch": "amd64", "Os": "linux"}


def refused(told: tuple[int, str, str], code: int) -> str:
    assert told[:2] == (code, ""), told
    (line,) = told[2].splitlines()
    assert line.startswith("nvfp4-matrix: ")
    return line


@pytest.fixture
def none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    host = f"unix://{tmp_path}/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", host)
    return host


@pytest.mark.usefixtures("none")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("build", "vllm==0.33.0"), "by digest: --base IMAGE@sha256:"),
        (("build", "vllm==0.33.0", "--base", "ubuntu:24.04"), "name it by digest"),
        (("build", "vllm==0.33.0", "--base", f"{BASE}\nRUN id"), "name it by digest"),
        ((*BUILD, "--python", "3.12\nRUN id"), "write it as 3.12"),
        ((*BUILD, "--python", "3.12; id"), "write it as 3.12"),
        ((*BUILD, "--index", "file:///x"), "no http or https URL"),
        ((*BUILD, "--index", "https://x.example/$(id) y"), "no http or https URL"),
        ((*BUILD, "--override", "--index-url=x"), "is no requirement"),
        ((*BUILD, "--override", "vllm==1"), "what the stack is about"),
        ((*BUILD, "--environment", "fat"), "is not one of"),
        (("build", "vllm==0.33.9", "--base", BASE), "unknown stack"),
        (("build", "$(id)\nRUN id", "--base", BASE), "unknown stack"),
        ((*BUILD, "--stacks", "gone.yaml"), "gone.yaml: cannot be read"),
    ],
)
def test_a_bad_argument_is_one_line_before_the_engine_is_asked(
    command: Command, arguments: tuple[str, ...], told: str
) -> None:
    assert told in refused(command(*arguments), 2)


@pytest.mark.parametrize(
    "name",
    ["Upper/case", "a b", "x/y:tag;id", "$(id)/x", "x@sha256:0", "-x", "", "h/" + "a" * 300],
)
@pytest.mark.parametrize("option", ["--push", "--pull-from"])
def test_a_name_of_no_registry_is_refused_before_the_engine_is_asked(
    command: Command, option: str, name: str
) -> None:
    assert f"{option} {name[:80]!r}" in refused(command(*BUILD, f"{option}={name}"), 2)


def test_no_engine_is_told_with_its_place(command: Command, none: str) -> None:
    line = refused(command(*BUILD), 3)
    assert f"no Docker engine answers at {none}" in line
    assert "start it" in line


def test_no_permission_on_the_socket_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with closing(socket.socket(socket.AF_UNIX)) as there:
        there.bind(str(path))
        there.listen()
        path.chmod(0)
        me = os.geteuid()
        if me == 0:  # whom no permission stops
            os.seteuid(65534)
        try:
            with pytest.raises(EngineError) as told:
                Engine.connect()
        finally:
            os.seteuid(me)
    assert str(told.value).startswith(f"no permission on unix://{path}: add yourself to the group")


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("nonsense://x", "see to DOCKER_HOST (unix://…, tcp://…)"),
        ("tcp://no-such-host.invalid:2375", "there is no such host; see to DOCKER_HOST"),
    ],
)
def test_an_address_that_is_none_is_told(
    command: Command, monkeypatch: pytest.MonkeyPatch, host: str, told: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    line = refused(command(*BUILD), 3)
    assert f"no Docker engine answers at {host}: " in line
    assert line.endswith(told)


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ({"Version": "19.03.1", "ApiVersion": "1.40"}, "19.03.1 is too old (API 1.40)"),
        ({"Os": "windows"}, "builds for windows/amd64"),
        ({"Arch": "riscv64"}, "builds for linux/riscv64"),
    ],
)
def test_an_engine_that_cannot_do_it_is_told(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    httpserver: HTTPServer,
    version: dict[str, str],
    told: str,
) -> None:
    for path in ("/version", f"/v{version.get('ApiVersion', '1.41')}/version"):
        httpserver.expect_request(path).respond_with_json(VERSION | version)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://{httpserver.host}:{httpserver.port}")
    assert told in refused(command(*BUILD), 3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--target", "sm121"),
            "sm121 exists with aarch64 only, and the Docker engine here is x86_64",
        ),
        (
            ("--target", "sm121", "--machine", "x86_64"),
            "sm121 exists with aarch64 only, not with x86_64",
        ),
        (("--target", "sm999"), "sm999"),
    ],
)
def test_an_image_for_another_machine_is_refused(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    httpserver: HTTPServer,
    arguments: tuple[str, ...],
    told: str,
) -> None:
    for path in ("/version", "/v1.41/version"):
        httpserver.expect_request(path).respond_with_json(VERSION)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://{httpserver.host}:{httpserver.port}")
    assert told in refused(command(*BUILD, *arguments), 2)


def test_the_other_commands_do_not_load_the_engines_library(command: Command) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "docker"]:
        del sys.modules[name]
    assert command("show", "--stack", "vllm==0.33.0", "--target", "sm120")[0] == 0
    assert "docker" not in sys.modules


REPORT = ImageReport(
    stack="vllm==0.33.0",
    target="sm120",
    machine="x86_64",
    environment="slim",
    python="3.12",
    base=BASE,
    image="nvfp4-matrix:0",
    id=BASE,
    fingerprint="0" * 64,
    size=9_000_000_000,
    built=True,
    made="2026-11-21T13:00:00Z",
    seconds={"build": 300.0, "examine": 40.0},
    lock="l.txt",
    files="f",
    pins={"vllm": "0.33.0"},
    installed={"vllm": "0.33.0", "pip": "23"},
    audited=(
        AuditedPackage(
            package="vllm",
            version="0.33.0",
            promised=True,
            compiled={"gemm": {"sm100": "yes", "sm120": "no"}},
        ),
    ),
    asked=Asked(promised=True, choices={"sm120": {"dense_w4a4": "Marlin"}, "sm100": {}}),
    differences=(
        Difference(
            kind="compiled",
            what="vllm gemm",
            target="sm120",
            promised="yes, 9 kernels",
            found="no, 0 kernels",
        ),
    ),
)


def test_a_report_tells_what_the_target_lost() -> None:
    text = render(REPORT)
    assert "built: 9000 MB, 2 packages, 300.0 s to build, 40.0 s to examine" in text
    assert "  gemm: sm120 no\n" in text
    assert "  sm120: dense_w4a4 Marlin\n" in text
    assert "sm100" not in text
    assert text.endswith(
        "  compiled: vllm gemm on sm120: promised yes, 9 kernels; found no, 0 kernels\n"
    )


def test_a_report_without_a_difference_says_so() -> None:
    told = msgspec.structs.replace(REPORT, differences=(), built=False, seconds={}, target="")
    text = render(told)
    assert "was there, nothing was built" in text
    assert "sm100 yes, sm120 no" in text
    assert text.endswith("everything is as promised\n")


def test_a_name_cannot_write_lines_of_its_own() -> None:
    text = render(msgspec.structs.replace(REPORT, stack="x\n\x1b[1meverything is as promised"))
    assert len(text.splitlines()) == len(render(REPORT).splitlines())
    assert "\x1b" not in text


def test_json_is_as_its_schema_says() -> None:
    schema = json.loads(schemas.path("build").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(json.loads(msgspec.json.encode(REPORT)))
