from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from matrix.result import Result
from probes.case import Case, Value
from probes.endurance import soak, xid
from probes.finding import Finding
from probes.request import Request
from probes.serving import modelconfig, served, server, servingload
from probes.serving.served import Outcome
from probes.suite import test_serve as suite
from probes.suite import test_soak

ROOT = Path(__file__).parents[3]
STANDIN = [sys.executable, str(Path(__file__).parent / "vllm_standin.py")]
SAVED = Path(__file__).parent / "data" / "bench-serve-0.33.0.json"
"""What the real `vllm bench serve` of 0.33.0 saved after it ran against the stand-in; two of its lists are shortened."""

Serve = Callable[..., Finding]


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    patience = {"start": 20.0, "silence": 1.0, "answer": 3.0}
    options = {"vllm": STANDIN, "patience": patience, "repeats": 2, "load_seconds": 30.0}
    return Request(
        run="r1", stack="s", target="sm120", machine="x86_64", subject="reference", device="cpu",
        results=str(tmp_path / "results.jsonl"), scale="small", options=options,
    )  # fmt: skip


@pytest.fixture
def serve(request_: Request, monkeypatch: pytest.MonkeyPatch) -> Serve:
    def run(*, model: str = "dense", streams: int = 30, **wrong: Any) -> Finding:
        monkeypatch.setenv("STANDIN", json.dumps(wrong))
        load = next(each for each in suite.loads(request_, model) if each.streams == streams)
        case = Case("serve.serving", "serve", "modelopt", {"model": model, "streams": load.streams})
        subject: Any = None
        return suite.test_serving(subject, case, request_)

    return run


def test_a_server_that_is_faster_than_awq_passes_with_its_kernel_and_latencies(
    serve: Serve,
) -> None:
    found = serve(streams=10, delay=0.02, format=["awq"])
    assert (found.status, found.reason) == ("pass", ""), found.text
    assert found.kernels == ("FlashInferCutlassNvFp4LinearKernel",)
    assert found.marks == ("numbers-unchecked",)
    for name in ("ttft_median", "itl_median", "baseline_itl_median"):
        assert found.metrics[name][1] == "ms"
    assert found.metrics["output_throughput"][1] == "tok/s"
    assert found.metrics["memory_asked"] == (16 * 2**30, "B")


def test_a_server_that_loses_to_awq_is_slow(serve: Serve) -> None:
    found = serve(delay=0.01, format=["modelopt"])
    assert (found.status, found.reason) == ("slow", "slower_than_baseline")
    assert found.metrics["speed_ratio"][0] < 0.5


def test_thirty_captions_of_images_go_to_the_vision_model(serve: Serve) -> None:
    assert serve(model="vision", streams=30, delay=0.002).metrics["request_throughput"][0] > 0


def test_marlin_in_the_log_is_a_fallback_however_fast(serve: Serve) -> None:
    found = serve(kernel="MarlinNvFp4LinearKernel", delay=0.0001, format=["modelopt"])
    assert (found.status, found.reason) == ("fallback", "weight_only_fallback")
    assert "Marlin" in found.text


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("segfault", "segfault"),
        ("illegal", "illegal_instruction"),
        ("engine", "segfault"),
        ("no_image", "no_kernel_image"),
        ("stall", "autotune_stall"),
        ("hang", "hang"),
    ],
)
def test_a_server_that_does_not_start_fails_by_what_it_said_or_died_of(
    serve: Serve, fault: str, reason: str
) -> None:
    found = serve(start=fault, format=["modelopt"])
    assert (found.status, found.reason) == ("fail", reason), found.text


def test_a_stalled_start_is_given_up_after_silence_and_not_at_the_limit(serve: Serve) -> None:
    told = re.search(
        r"after ([0-9]+) s, silent for", serve(start="stall", format=["modelopt"]).text
    )
    assert told
    assert int(told[1]) < 15


def test_a_server_that_failed_to_start_is_not_started_for_every_load(serve: Serve) -> None:
    serve(streams=1, start="hang", format=["modelopt"])
    begun = time.monotonic()
    assert serve(streams=10).reason == "hang"
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"unwell": 4}, "requests_failed"),
        ({"mute": 4}, "hang"),
        ({"die": 4}, "killed"),
        ({"refuse": 4}, "requests_failed"),
        ({"refuse": 0}, "requests_failed"),
    ],
)
def test_a_server_that_fails_under_load_is_named_with_its_load(
    serve: Serve, wrong: dict[str, int], reason: str
) -> None:
    found = serve(streams=10, delay=0.1, format=["modelopt"], **wrong)
    assert (found.status == "pass", found.reason) == (False, reason), found.text
    assert found.text.startswith("10 streams: ")


def test_what_died_under_one_load_is_started_anew_for_the_next(serve: Serve) -> None:
    assert serve(streams=10, die=4, format=["modelopt"]).reason == "killed"
    assert serve(streams=30).reason in ("", "slower_than_baseline")


@pytest.fixture
def soaked(request_: Request, monkeypatch: pytest.MonkeyPatch) -> Serve:
    def run(seconds: float = 30.0, **wrong: Any) -> Finding:
        monkeypatch.setenv("STANDIN", json.dumps({"delay": 0.001, **wrong}))
        load: dict[str, Value] = {"model": "dense", "streams": 4, "seconds": seconds}
        subject: Any = None
        return test_soak.test_server(
            subject, Case("soak.server", "serve", "modelopt", load), request_
        )

    return run


def test_a_server_that_lasts_passes_its_soak(soaked: Serve) -> None:
    found = soaked(seconds=1.0)
    assert (found.status, found.reason) == ("pass", ""), found.text
    assert found.metrics["answers_compared"] == (1.0, "1")
    assert found.metrics["requests"][0] > 10
    assert found.metrics["soaked"][0] >= 1.0


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"drift": 20}, "corruption"),
        ({"unwell": 20}, "requests_failed"),
        ({"mute": 20}, "hang"),
        ({"refuse": 20}, "requests_failed"),
        ({"start": "no_image"}, "no_kernel_image"),
    ],
)
def test_what_goes_wrong_during_a_soak_is_named(
    soaked: Serve, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], reason: str
) -> None:
    monkeypatch.setattr(soak, "_PAUSE", 0.5)
    found = soaked(**wrong)
    assert (found.status, found.reason) == ("fail", reason), found.text


def test_a_server_that_is_killed_during_a_soak_is_nobodys_verdict(soaked: Serve) -> None:
    found = soaked(die=20)
    assert (found.status, found.reason) == ("error", "killed"), found.text


def test_an_xid_error_ends_the_soak_of_a_server(
    soaked: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xid.Watch, "found", lambda _: ("Xid 79: the GPU has fallen off the bus",))
    assert soaked().reason == "xid"


def test_without_awq_there_is_nothing_to_compare_with(serve: Serve) -> None:
    found = serve(start="segfault", format=["awq"])
    assert (found.status, found.reason) == ("skip", "no_baseline")


def test_a_port_that_was_taken_meanwhile_is_tried_once_more(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_ONCE", str(tmp_path / "once"))
    assert serve(start="taken", format=["modelopt"]).reason in ("", "slower_than_baseline")


def test_nothing_that_a_server_started_outlives_the_probe(request_: Request) -> None:
    place = served.Place.of(request_)
    with place.server("dense", "modelopt") as one:
        port = one.port
        assert server.health(port, 1.0) == 200
    assert server.health(port, 0.2) == 0


def test_a_server_ends_with_the_probe_that_was_killed(request_: Request) -> None:
    place = served.Place.of(request_)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with place.server("dense", "modelopt") as one:
            os.write(writing, str(one.port).encode())
            time.sleep(60)
    port = int(os.read(reading, 16))
    os.kill(child, 9)
    os.waitpid(child, 0)
    until = time.monotonic() + 15
    while server.health(port, 0.2) and time.monotonic() < until:
        time.sleep(0.05)
    assert server.health(port, 0.2) == 0


def test_what_the_real_client_saves_is_read() -> None:
    load = servingload.Load(streams=10, requests=20, input_tokens=64, output_tokens=16)
    figures = servingload.read(SAVED, load)
    assert figures["output_throughput"] == (1785.4366264022703, "tok/s")
    assert figures["itl_p99"] == (7.331470596473081, "ms")
    assert set(figures) == {name for name, _ in servingload._FIGURES.values()}


def test_the_stand_in_saves_no_key_that_the_real_client_does_not(
    serve: Serve, request_: Request
) -> None:
    serve()
    folder = served.Place.of(request_).folder
    mine = json.loads(next(folder.glob("dense-modelopt-30-0.json")).read_text())
    assert set(mine) <= set(json.loads(SAVED.read_text()))


def test_a_result_of_fewer_requests_than_asked_is_failed_requests() -> None:
    load = servingload.Load(streams=10, requests=30, input_tokens=64, output_tokens=16)
    with pytest.raises(servingload.LoadError) as caught:
        servingload.read(SAVED, load)
    assert caught.value.reason == "requests_failed"


def outcome(*speeds: float, kernels: tuple[str, ...] = ("CutlassNvFp4LinearKernel",)) -> Outcome:
    runs = [{servingload.FIGURE: (speed, "tok/s")} for speed in speeds]
    return Outcome(runs=runs, kernels=kernels)


@pytest.mark.parametrize(
    ("native", "baseline", "status"),
    [
        (outcome(96.0, 96.0), outcome(100.0, 100.0), "pass"),
        (outcome(94.0, 94.0), outcome(100.0, 100.0), "slow"),
        (outcome(80.0, 88.0, 90.0), outcome(100.0, 100.0), "slow"),
        (outcome(80.0, 88.0, 95.0), outcome(100.0, 100.0), "pass"),
        (outcome(94.0, 94.0), outcome(90.0, 100.0, 104.0), "pass"),
    ],
)
def test_slow_is_more_than_five_per_cent_and_more_than_equal_runs_differ(
    native: Outcome, baseline: Outcome, status: str
) -> None:
    assert suite.judged(native, baseline).status == status


def test_a_server_whose_log_names_no_kernel_is_marked() -> None:
    found = suite.judged(outcome(1.0, kernels=()), outcome(1.0))
    assert found.marks == ("kernels-unproven", "numbers-unchecked")


@pytest.mark.parametrize("model", modelconfig.MODELS)
@pytest.mark.parametrize("form", [*modelconfig.NATIVE, modelconfig.BASELINE])
def test_every_layer_of_a_model_fits_the_blocks_of_its_format(
    tmp_path: Path, model: str, form: str
) -> None:
    folder = modelconfig.write(tmp_path / "m", model, form)
    config = json.loads((folder / "config.json").read_text())
    config = config.get("text_config", config)
    group = 128 if form == "awq" else 16
    for name in ("hidden_size", "intermediate_size", "moe_intermediate_size"):
        assert config.get(name, 128) % max(group, 64) == 0
    assert (
        json.loads((folder / "config.json").read_text())["quantization_config"]["quant_method"]
        == form
    )


def test_the_tokenizer_has_a_text_for_every_token_of_the_models(tmp_path: Path) -> None:
    folder = modelconfig.write(tmp_path / "m", "dense", "modelopt")
    told = json.loads((folder / "tokenizer.json").read_text())
    numbers = {*told["model"]["vocab"].values(), *(each["id"] for each in told["added_tokens"])}
    assert numbers == set(range(json.loads((folder / "config.json").read_text())["vocab_size"]))


def test_a_shared_memory_gpu_is_asked_for_an_eighth_and_a_small_one_for_nine_tenths() -> None:
    assert server.fraction(128 << 30) == 0.125
    assert server.fraction(12 << 30) == 0.9


DRIVER = """
import sys
from types import SimpleNamespace
from matrix.result import Result
from probes.serving import modelconfig
from probes import __main__
from probes.subjects import reference
modelconfig.MODELS = {"dense": modelconfig.MODELS["dense"]}
sys.modules["probes.subjects.served"] = SimpleNamespace(
    OFFERS={"serve": ("modelopt",)}, load=reference.load, make=reference.make
)
sys.exit(__main__.main(sys.argv[1:]))
"""


def test_a_run_of_the_suite_serves_and_its_lines_are_results(
    request_: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STANDIN", json.dumps({"kernel": "MARLIN", "format": ["modelopt"]}))
    file = tmp_path / "request.json"
    options = {**request_.options, "repeats": 1, "soak_seconds": 0.2}
    replace(request_, subject="served", only=("serve", "soak.server"), options=options).write(file)
    command = [sys.executable, "-c", DRIVER, str(file), "-q"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in Path(request_.results).read_text().splitlines()[1:]]
    results = [msgspec.convert(line, Result) for line in lines]
    assert [(each.probe.name, each.load[1]) for each in results] == [
        ("serve.serving", "streams=1"),
        ("serve.serving", "streams=10"),
        ("serve.serving", "streams=30"),
        ("soak.server", "streams=10"),
    ], done.stdout
    assert {(each.status, each.reason) for each in results} == {
        ("fallback", "weight_only_fallback")
    }
    assert {each.kernels for each in results} == {("MARLIN",)}
    assert "Warning" not in done.stdout
