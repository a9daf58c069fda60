from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from matrix import kept

pytestmark = pytest.mark.install

RELEASE = "0.33.0"


def ask(place: Path) -> dict[str, Any]:
    code = "from reports.cli import main; main()"
    command = [sys.executable, "-c", code, "select", "--python", str(place)]
    command += ["--cubins", "reachable", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def told(place: Path) -> dict[str, Any]:
    return ask(place)


def choices(told: dict[str, Any]) -> dict[tuple[str, str, str], tuple[str, str, str]]:
    return {
        (environment, target, kind): (answer["outcome"], answer["selected"], answer["kernel"])
        for environment, found in told["environments"].items()
        for target, answers in found["targets"].items()
        for kind, answer in answers.items()
    }


@pytest.mark.skipif(platform.machine() != "x86_64", reason="what is kept was asked on x86_64")
def test_it_says_what_the_ledger_keeps_of_it(told: dict[str, Any]) -> None:
    held = json.loads(kept.place(RELEASE, "x86_64").read_text())
    assert told["packages"] == held["packages"]
    assert len(choices(held)) == 60
    assert choices(told) == choices(held)


def selected(told: dict[str, Any], environment: str, kind: str) -> dict[str, str]:
    targets = told["environments"][environment]["targets"]
    return {name: answers[kind]["selected"] for name, answers in targets.items()}


def test_the_dense_choice_is_the_one_that_vllm_makes(told: dict[str, Any]) -> None:
    assert selected(told, "devel", "dense_w4a4") == {
        "sm100": "FlashInferCuteDslNvFp4LinearKernel",
        "sm103": "FlashInferCuteDslNvFp4LinearKernel",
        "sm110": "FlashInferCutlassNvFp4LinearKernel",
        "sm120": "FlashInferCutlassNvFp4LinearKernel",
        "sm121": "FlashInferCutlassNvFp4LinearKernel",
        "sm90": "HummingNvFp4LinearKernel",
    }
    slim = selected(told, "slim", "dense_w4a4")
    assert slim.pop("sm90") == "HummingNvFp4LinearKernel"
    assert set(slim.values()) == {"CutlassNvFp4LinearKernel"}


def test_the_other_layer_kinds_are_answered(told: dict[str, Any]) -> None:
    assert selected(told, "devel", "moe_w4a4")["sm121"] == "FLASHINFER_CUTLASS"
    assert selected(told, "slim", "moe_w4a4")["sm121"] == "VLLM_CUTLASS"
    assert selected(told, "slim", "moe_w4a16")["sm121"] == "MARLIN"
    assert (
        selected(told, "devel", "dense_w4a16")["sm100"] == "FlashInferCuteDslNvFp4W4A16LinearKernel"
    )
    assert selected(told, "slim", "kv_cache")["sm121"] == "FLASHINFER"


def test_no_choice_is_without_a_path_and_none_is_unknown(told: dict[str, Any]) -> None:
    for environment in told["environments"].values():
        for answers in environment["targets"].values():
            for answer in answers.values():
                assert answer["outcome"] != "unknown"
                assert answer["outcome"] == "none" or answer["path"]


def test_every_question_together_takes_ten_seconds_at_most(
    place: Path, told: dict[str, Any]
) -> None:
    seconds = told["seconds"]["questions"]
    if seconds > 10:  # 0.9 s on two cores, seven times that beside ten other processes
        seconds = ask(place)["seconds"]["questions"]
    assert seconds <= 10


def test_flashinfer_denies_what_vllm_claims(told: dict[str, Any]) -> None:
    found = {
        (each["name"], each["kind"]): each["targets"]
        for each in told["contradictions"]
        if each["layer"] == "dense_w4a4"
    }
    wanted = ["sm110", "sm120", "sm121", "sm90"]
    assert found[("FlashInferTrtllmNvFp4LinearKernel", "packages-disagree")] == wanted


def test_nothing_installed_was_changed(place: Path, told: dict[str, Any]) -> None:
    assert told["packages"]["vllm"] == "0.33.0"
    assert list(place.glob("lib/python*/site-packages/vllm/**/__pycache__")) == []
