"""`build --lock-only`: the lock of an image for any machine, where no engine answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

from matrix import schemas

if TYPE_CHECKING:
    from tests.conftest import Command, MakeWheel, Shelf

pytestmark = pytest.mark.e2e

STACKS = """\
as_released: []
written:
  - {name: mine, pins: {mine: '1.0'}}
"""


@pytest.fixture
def ordered(
    shelf: Shelf, make_wheel: MakeWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, ...]:
    for machine in ("x86_64", "aarch64"):
        requires = [f"only-{machine.replace('_', '-')}"]
        tag = f"cp38-abi3-manylinux_2_31_{machine}"
        shelf.add(make_wheel("mine", "1.0", {"mine.py": machine.encode()}, tag=tag, requires=requires if machine == "x86_64" else []))  # fmt: skip
    for name in ("only-x86-64", "pytest", "ninja"):
        shelf.add(make_wheel(name, "1.0"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nobody/answers.sock")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "stacks.yaml").write_text(STACKS)
    kept = str(tmp_path / "kept")
    return ("build", "mine", "--stacks", str(tmp_path / "stacks.yaml"), "--kept", kept)


@pytest.mark.parametrize(
    ("more", "machine"),
    [
        (("--machine", "aarch64"), "aarch64"),
        (("--machine", "x86_64"), "x86_64"),
        ((), "x86_64"),
        (("--target", "sm121"), "aarch64"),  # which exists with that one alone
    ],
)
def test_a_lock_is_made_for_any_machine_and_kept(
    command: Command, ordered: tuple[str, ...], more: tuple[str, ...], machine: str
) -> None:
    code, out, err = command(*ordered, "--lock-only", "--json", *more)
    assert code == 0, err
    told = json.loads(out)
    schema = json.loads(schemas.path("lock").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(told)
    assert told["machine"] == machine
    assert told["pins"]["mine"] == "1.0"
    assert Path(told["lock"]).name == f"mine-slim-{machine}-cp312.txt"
    assert f"on {machine}" in Path(told["lock"]).read_text().splitlines()[0]
    again = command(*ordered, "--lock-only", *more)
    assert again[0] == 0
    assert "locking" not in again[2]
    assert f"lock {told['lock']}\n" in again[1]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--push", "localhost:1/x"), "--lock-only makes no image"),
        (("--target", "sm121", "--machine", "x86_64"), "sm121 exists with aarch64 only"),
        (("--python", "3.12; id"), "--python '3.12; id'"),
        (("--override", "mine==9"), "mine is what the stack is about"),
    ],
)
def test_what_cannot_be_locked_is_one_line(
    command: Command, ordered: tuple[str, ...], more: tuple[str, ...], said: str
) -> None:
    code, out, err = command(*ordered, "--lock-only", *more)
    assert (code, out) == (2, "")
    assert said in err.splitlines()[-1]


def test_a_base_is_said_by_the_environment_as_well(
    command: Command, ordered: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = command(*ordered)
    assert code == 2
    assert "--base IMAGE@sha256:… (or NVFP4_MATRIX_BASE)" in err
    monkeypatch.setenv("NVFP4_MATRIX_BASE", f"debian@sha256:{'0' * 64}")
    code, _, err = command(*ordered)
    assert code == 3  # it goes on as far as the engine
    assert "no Docker engine answers at unix:///nobody/answers.sock" in err
    monkeypatch.setenv("NVFP4_MATRIX_BASE", "debian:12")
    code, _, err = command(*ordered)
    assert code == 2
    assert "--base 'debian:12': name it by digest" in err
