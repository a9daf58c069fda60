from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from jsonschema import Draft202012Validator

from matrix import kept, ledger, schemas
from matrix.selection import Selection

if TYPE_CHECKING:
    from tests.conftest import MakeWheel, Shelf

Command = Callable[..., tuple[int, str, str]]
MakeStack = Callable[..., Path]


def test_json_is_valid_and_keyed_by_environment_target_and_layer(
    command: Command, make_stack: MakeStack
) -> None:
    code, out, err = command("select", "--python", make_stack(), "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    Draft202012Validator(json.loads(schemas.path("select").read_text(encoding="utf-8"))).validate(
        told
    )
    assert list(told["environments"]) == ["slim", "devel"]
    dense = told["environments"]["devel"]["targets"]["sm121"]["dense_w4a4"]
    assert dense["selected"] == "FlashInferCutlassNvFp4LinearKernel"
    assert dense["native"] is True
    slim = told["environments"]["slim"]["targets"]["sm121"]["dense_w4a4"]
    assert (slim["selected"], slim["native"]) == ("MarlinNvFp4LinearKernel", False)
    assert {each["kind"] for each in told["contradictions"]} >= {
        "silent-fallback",
        "packages-disagree",
    }
    assert told["asked_for"]["kv_cache"]["head_size"] == 128


def test_text_tells_both_environments_and_what_disagrees(
    command: Command, make_stack: MakeStack
) -> None:
    code, out, _ = command(
        "select", "--python", make_stack(), "--target", "sm121", "--target", "sm100"
    )
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith(
        "vllm 0.33.0, torch 2.14.0, flashinfer-python 0.7.2.post1; asked on "
    )
    assert "Dense W4A4   sm100 sm121  MarlinNvFp4 (weight-only)  FlashInferCutlassNvFp4" in lines
    assert "KV cache     sm100        refused                    refused" in lines
    assert any(line.startswith("- Dense W4A4, silent-fallback: ") for line in lines)
    assert max(map(len, lines)) <= 110


def test_candidates_are_told_on_request(command: Command, make_stack: MakeStack) -> None:
    place = make_stack()
    arguments = ("select", "--python", place, "--target", "sm121", "--environment", "slim")
    _, short, _ = command(*arguments)
    _, long, _ = command(*arguments, "--candidates")
    assert "FlashInfer required" not in short
    assert "Dense W4A4 on sm121, slim" in long
    assert "FlashInfer required" in long
    assert "FlashInfer: mm_fp4(trtllm)" in long
    assert "devel" not in long.partition("Contradictions")[0]


def test_a_release_that_is_not_known_says_so_once(command: Command, make_stack: MakeStack) -> None:
    code, out, _ = command("select", "--python", make_stack("0.99.0"))
    assert code == 0
    assert out.count("how vLLM 0.99.0 is asked is not known") == 1
    assert "unknown: everything: " in out


def test_words_of_a_package_cannot_steer_the_terminal(
    command: Command, make_stack: MakeStack
) -> None:
    evil = "vllm/v1/attention/selector.py"
    place = make_stack(
        files={evil: "def AttentionSelectorConfig(**_): raise RuntimeError('\\x1b[2J\\u202e')"}
    )
    _, out, _ = command("select", "--python", place, "--candidates")
    assert "RuntimeError" in out
    assert "\x1b" not in out
    assert "\u202e" not in out


@pytest.mark.parametrize(
    ("files", "code"),
    [({"vllm": None}, 2), ({"torch": None}, 2), ({"vllm/__init__.py": "import no"}, 3)],
)
def test_bad_environments_are_one_line_and_a_code(
    command: Command, make_stack: MakeStack, files: dict[str, str | None], code: int
) -> None:
    got, out, err = command("select", "--python", make_stack(files=files))
    assert (got, out, err.count("\n")) == (code, "", 1)


def test_bad_usage_is_one_line_and_exit_2(command: Command, tmp_path: Path) -> None:
    for arguments in (("--python", tmp_path / "none"), ("--target", "sm999")):
        code, out, err = command("select", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ledger's folder to write to; what is known is still read from the real one."""
    monkeypatch.setattr(ledger, "FOLDER", tmp_path / "ledger")
    return tmp_path / "ledger"


def test_what_a_release_said_is_kept_as_it_is_printed(
    command: Command, make_stack: MakeStack, folder: Path
) -> None:
    code, out, err = command("select", "--python", make_stack(), "--keep", "--json")
    told = json.loads(out)
    file = kept.place("0.33.0", told["machine"], folder)
    assert (code, err) == (0, f"kept: {file}\n")
    assert json.loads(file.read_text()) == told
    assert file.read_text().startswith('{\n "packages": {\n')
    assert file.read_text().endswith("}\n")
    assert [each for each in folder.rglob("*") if each.is_file()] == [file]
    assert told["cubins"] == {"reachable": True, "how": "stated by who asked"}
    assert len(told["asked"]) == len("2026-11-21")
    assert told["differs"]["humming-kernels"] == "0.1.19"
    assert "torch" not in told["differs"]


CUBIN = "flashinfer_cubin-0.7.2.dist-info/METADATA"


@pytest.mark.parametrize(
    ("version", "cubin", "told"),
    [
        ("0.32.0", "", "torch there is 2.14.0, and vLLM 0.32.0 brings "),
        ("0.99.0", "", "is no release that the ledger has"),
        ("0.33.0+cu129", "", "is no release that the ledger has"),
        (
            "0.33.0",
            "Metadata-Version: 2.1\nName: flashinfer-cubin\nVersion: 0.7.2\n",
            "flashinfer-cubin there is 0.7.2, and vLLM 0.33.0 brings none",
        ),
    ],
)
@pytest.mark.usefixtures("folder")
def test_another_stack_than_the_release_brings_is_not_kept(
    command: Command, make_stack: MakeStack, version: str, cubin: str, told: str
) -> None:
    place = make_stack(version, {CUBIN: cubin} if cubin else {})
    code, out, err = command("select", "--python", place, "--keep")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err
    assert not ledger.FOLDER.exists()


@pytest.mark.parametrize(
    "arguments", [("--target", "sm121"), ("--environment", "slim"), ("--cubins", "unreachable")]
)
def test_a_part_of_the_answer_is_not_kept(command: Command, arguments: tuple[str, str]) -> None:
    code, out, err = command("select", "--keep", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--keep is for every target" in err


@pytest.mark.parametrize("file", sorted((ledger.FOLDER / "selected").rglob("*.json")), ids=str)
def test_what_is_kept_is_of_a_release_with_its_own_pins_and_can_be_read(file: Path) -> None:
    made = msgspec.json.decode(file.read_bytes(), type=Selection)
    assert file == kept.place(made.packages["vllm"], made.machine)
    assert not set(made.differs) & set(kept.PACKAGES)
    assert made.cubins.reachable is True
    assert made.asked
    assert file.stat().st_size < 300_000
    assert list(made.environments) == ["slim", "devel"]
    for environment in made.environments.values():
        for name, answers in environment.targets.items():
            for answer in answers.values():
                assert answer.outcome != "unknown"
                assert answer.outcome == "none" or answer.path or name == "sm90"


def test_a_release_is_installed_asked_and_gone(
    command: Command,
    shelf: Shelf,
    make_wheel: MakeWheel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("matrix.evidence.fresh.ROOM", 10**6)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    stack = Path(__file__).parents[1] / "stack"
    pins = {"vllm": "0.33.0", "torch": "2.14.0", "flashinfer": "0.7.2.post1"}
    for name, version in pins.items():
        inside = {
            str(file.relative_to(stack)): file.read_bytes() for file in (stack / name).rglob("*.py")
        }
        package = {"flashinfer": "flashinfer-python"}.get(name, name)
        requires = ["torch==2.14.0", "flashinfer-python==0.7.2.post1"] if name == "vllm" else []
        shelf.add(make_wheel(package, version, inside, requires=requires))
    code, out, err = command("select", "--install", "0.33.0", "--target", "sm121", "--json")
    assert (code, err.count("\n")) == (0, 2)
    told = json.loads(out)
    assert told["packages"]["vllm"] == "0.33.0"
    assert told["environments"]["devel"]["targets"]["sm121"]["moe_w4a4"]["outcome"] == "chosen"
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("arguments", [("--install", "new"), ("--install", "1", "--python", "x")])
def test_a_release_that_is_none_is_bad_usage(command: Command, arguments: tuple[str, ...]) -> None:
    code, out, err = command("select", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
