from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from matrix import schemas

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
