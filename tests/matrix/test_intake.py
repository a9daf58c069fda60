from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.errors import ConfigurationError
from matrix.intake import Given, Place, digest, intake, roles, unpaired
from matrix.result import SPEED, Role
from matrix.runs.reading import Log, read

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"
if not SAMPLES.is_dir() and not os.environ.get("CI"):
    pytest.skip("the samples lie in a folder beside the project", allow_module_level=True)
PLACE = Place("vLLM main of November 2025", "sm121", "aarch64")
WHEN = "2026-11-21T03:00:00Z"


def log(name: str, role: Role, more: bytes = b"") -> Log:
    content = (SAMPLES / f"vllm-bench-serve-{name}.txt").read_bytes()
    return read(io.BytesIO(more + content), f"{name}.txt", role)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["native=a", "baseline=b"], ["native a", "baseline b"]),
        (["x-nvfp4-c1.txt", "dir.awq/y.NVFP4.json", "z_AWQ.txt"], ["native", "native", "baseline"]),
        (["nvfp4/bf16.log", "qwen.nvfp4"], ["baseline nvfp4/bf16.log", "native qwen.nvfp4"]),
        (["results.txt"], ["native results.txt"]),
        (["-"], ["native -"]),
        (["native=-", "baseline=x"], ["native -", "baseline x"]),
        (["native=a=b.txt"], ["native a=b.txt"]),
        (["k=v-nvfp4.txt"], ["native k=v-nvfp4.txt"]),
    ],
)
def test_who_is_who_is_told_or_shows_in_the_name(arguments: list[str], told: list[str]) -> None:
    for one, expected in zip(roles(arguments), told, strict=True):
        role, _, path = expected.partition(" ")
        assert one.role == role
        assert not path or one == Given(path, one.role)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a.txt", "x-awq.txt"], "a.txt: its name says neither NVFP4 nor another format"),
        (["nvfp4-vs-awq.txt"], "says both NVFP4 and another format; write native=nvfp4-vs-awq.txt"),
        (["x-awq.txt"], "no file is of an NVFP4 run"),
        (["baseline=x"], "no file is of an NVFP4 run"),
        (["native="], "names no file"),
        (["native=-", "baseline=-"], r"standard input \(-\) can be read once"),
        (["mynvfp4ish.txt", "y-awq.txt"], "says neither"),
    ],
)
def test_an_unclear_name_is_one_line(arguments: list[str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        roles(arguments)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_no_name_does_more_than_raise_a_configuration_error(arguments: list[str]) -> None:
    try:
        assert len(roles(arguments)) == len(arguments)
    except ConfigurationError:
        return


def test_the_samples_are_slow_with_both_ratios() -> None:
    logs = [
        log("awq-c1", "baseline"),
        log("awq-c10", "baseline"),
        log("nvfp4-c1", "native"),
        log("nvfp4-c10", "native"),
    ]
    results = intake(logs, PLACE, when=WHEN)
    assert [(r.status, r.reason, r.metrics[SPEED].value) for r in results] == [
        ("slow", "slower_than_baseline", 0.7585),
        ("slow", "slower_than_baseline", 0.8449),
    ]
    first = results[0]
    assert [(s.role, s.name) for s in first.source] == [
        ("native", "nvfp4-c1.txt"),
        ("baseline", "awq-c1.txt"),
    ]
    assert "single-run" in first.marks
    assert first.durations == {"run": 6.29, "baseline": 4.77}
    assert (first.stack, first.target, first.machine, first.environment) == (*PLACE[:3], "")
    assert len({r.run for r in results}) == 1
    assert first.probe.sha256 == digest()
    assert list(unpaired(logs, results)) == []
    assert list(unpaired(logs, results[:1])) == ["awq-c10.txt"]


def test_kernels_named_in_one_native_file_hold_for_all() -> None:
    server = read(io.BytesIO(b"Using 'MARLIN' NvFp4 MoE backend out of"), "server.log", "native")
    logs = [server, log("nvfp4-c1", "native"), log("awq-c1", "baseline")]
    (result,) = intake(logs, PLACE, when=WHEN)
    assert (result.status, result.reason) == ("fallback", "weight_only_fallback")
    assert result.kernels == ("MARLIN",)
    baseline = log("awq-c1", "baseline", b"Using 'MARLIN' NvFp4 MoE backend out of\n")
    (result,) = intake([log("nvfp4-c1", "native"), baseline], PLACE, when=WHEN)
    assert result.status == "slow"


def test_kernels_without_a_run_and_a_file_given_twice_are_one_line() -> None:
    server = read(io.BytesIO(b"Using 'MARLIN' NvFp4 MoE backend out of"), "server.log", "native")
    with pytest.raises(ConfigurationError, match=r"server\.log: names kernels, but has no run"):
        intake([server], PLACE, when=WHEN)
    with pytest.raises(ConfigurationError, match=r"nvfp4-c1\.txt: given twice"):
        intake([log("nvfp4-c1", "native")] * 2, PLACE, when=WHEN)


def test_each_import_is_a_run_of_its_own() -> None:
    logs = [log("nvfp4-c1", "native")]
    first = intake(logs, PLACE, when=WHEN)[0].run
    assert first == intake(logs, PLACE, when=WHEN)[0].run
    assert first != intake(logs, PLACE, when="2026-11-21T03:00:01Z")[0].run
    assert first != intake(logs, PLACE._replace(target="sm120"), when=WHEN)[0].run
