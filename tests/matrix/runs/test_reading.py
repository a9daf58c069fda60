from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.errors import ConfigurationError
from matrix.result import Role
from matrix.runs import reading, servingjson
from matrix.runs.reading import Log, read

SAMPLES = Path(__file__).resolve().parents[4] / "shared" / "samples"
if not SAMPLES.is_dir() and not os.environ.get("CI"):
    pytest.skip("the samples lie in a folder beside the project", allow_module_level=True)
C10 = (SAMPLES / "vllm-bench-serve-nvfp4-c10.txt").read_bytes()
SAVED: dict[str, Any] = {
    "date": "20251121-030000",
    "backend": "vllm",
    "model_id": "m",
    "num_prompts": 10,
    "request_rate": "inf",
    "max_concurrency": None,
    "duration": 71.21,
    "completed": 10,
    "failed": 0,
    "total_input_tokens": 1374,
    "total_output_tokens": 2534,
    "request_throughput": 0.14,
    "output_throughput": 35.585,
    "total_token_throughput": 54.88,
    "input_lens": [1, 2],
    "generated_texts": ["a", "\u0000"],
    "mean_ttft_ms": 1049.56,
    "p99_itl_ms": 154.85,
}
ENGINE = (
    "(APIServer pid=1) INFO 11-21 03:00:00 [loggers.py:236] Engine 000: Avg prompt throughput: "
    "{} tokens/s, Avg generation throughput: {} tokens/s, Running: {} reqs, Waiting: 0 reqs, "
    "GPU KV cache usage: 12.0%, Prefix cache hit rate: 0.0%\n"
)
COLUMNS = ["routine", "median_time", "std_time", "tflops", "tb_per_sec", "backend", "use_nvfp4"]
COLUMNS += ["m", "n", "k", "random_seed", "repro_command"]


def log(content: bytes | str, role: Role = "native") -> Log:
    raw = content.encode() if isinstance(content, str) else content
    return read(io.BytesIO(raw), "file", role)


def csv(*rows: str, sign: str = ",") -> str:
    return "\r\n".join([sign.join(COLUMNS), *(row.replace(",", sign) for row in rows), ""])


def test_a_block_is_read_with_units() -> None:
    (run,) = log(C10).runs
    assert run.trouble == ""
    assert run.load == ("requests=10", "input_tokens=1374", "output_tokens=2534")
    assert (run.figure, run.speed, run.seconds) == ("output_throughput", 35.58, 71.21)
    assert {name: (m.value, m.unit) for name, m in run.metrics.items()} == {
        "requests": (10, "req"),
        "failed_requests": (0, "req"),
        "input_tokens": (1374, "tok"),
        "output_tokens": (2534, "tok"),
        "request_throughput": (0.14, "req/s"),
        "output_throughput": (35.58, "tok/s"),
        "output_throughput_peak": (56, "tok/s"),
        "concurrency_peak": (10, "req"),
        "total_throughput": (54.88, "tok/s"),
        "ttft_mean": (1049.56, "ms"),
        "ttft_median": (1143.46, "ms"),
        "ttft_p99": (1145.36, "ms"),
        "tpot_mean": (121.63, "ms"),
        "tpot_median": (130.11, "ms"),
        "tpot_p99": (145.4, "ms"),
        "itl_mean": (106.38, "ms"),
        "itl_median": (99.5, "ms"),
        "itl_p99": (154.85, "ms"),
    }


@pytest.mark.parametrize(
    "around",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"Total Token throughput", b"Total token throughput"),
        lambda text: b"Namespace(a=1)\n100%|####| 10/10 [00:01<00:00]\r" + text + b"bye\n",
        lambda text: b"".join(b"2025-11-21T03:00:00.1Z " + line for line in text.splitlines(True)),
        lambda text: b"".join(b"> \x1b[32m" + line for line in text.splitlines(True)),
        lambda text: text.replace(b"Failed requests:                         0\n", b""),
        lambda text: text.replace(b"====\nSucc", b"====\nBackend:   vllm\nTraffic request rate: inf\nSucc"),
        lambda text: text.decode().encode("utf-16"),
        lambda text: text.replace(b"Total", b"To\0tal"),
        lambda text: b"\xff\xff" * 9 + b"\n" + text,
        lambda text: text.rstrip(b"\n"),
    ],
)  # fmt: skip
def test_what_stands_around_it_and_between_versions_does_not_matter(around: Any) -> None:
    (run,) = log(around(C10)).runs
    assert (run.trouble, run.speed, len(run.load)) == ("", 35.58, 3)


def test_what_was_asked_of_the_server_is_part_of_the_load() -> None:
    more = b"Maximum request concurrency:             4\nRequest rate configured (RPS):      2.00\n"
    (run,) = log(C10.replace(b"Benchmark duration", more + b"Benchmark duration")).runs
    assert run.load[-2:] == ("concurrency=4", "request_rate=2")


@given(st.integers(0, len(C10) - 1))
def test_a_log_that_is_cut_anywhere_gives_no_speed(cut: int) -> None:
    try:
        (run,) = log(C10[:cut]).runs
    except ConfigurationError:
        assert cut < 45
        return
    closed = C10[:cut].endswith(b"=" * 20) and cut > 60
    assert closed or run.trouble == "incomplete_log"
    if closed:
        assert run.speed == 35.58


@pytest.mark.parametrize(
    ("old", "new", "trouble", "told"),
    [
        (b"35.58", b"35,58", "unreadable_number", "'35,58'"),
        (b"1374", b"1.374", "unreadable_number", "input_tokens is 1.374"),
        (b"1374", b"1,374", "unreadable_number", "Total input tokens is '1,374'"),
        (b"35.58", "\uff13\uff15.58".encode(), "unreadable_number", "Output token throughput"),
        (b"35.58", b"nan", "unreadable_number", "'nan'"),
        (b"35.58", b"-35.58", "unreadable_number", "'-35.58'"),
        (b"35.58", b"", "unreadable_number", "is ''"),
        (b"35.58", b"55.58", "inconsistent_numbers", "2534 tokens in 71.21 s are not 55.58 tok/s"),
        (b"35.58", b"0.00", "inconsistent_numbers", "nothing was generated"),
        (b"71.21", b"1e99", "inconsistent_numbers", "nothing was generated"),
        (b"requests:                         0", b"requests:  3", "requests_failed", "3 requests"),
        (b"Output token", b"Token", "incomplete_log", "says no output_throughput"),
        (b"Mean TTFT", b"Total input tokens: 7\nMean TTFT", "inconsistent_numbers", "told twice"),
    ],
)
def test_numbers_that_cannot_be_used_are_trouble(
    old: bytes, new: bytes, trouble: str, told: str
) -> None:
    (run,) = log(C10.replace(old, new)).runs
    assert run.trouble == trouble
    assert told in run.text
    assert bool(run.figure) == (not trouble)


def test_several_results_in_one_file_are_several_runs_and_a_cut_one_is_no_other() -> None:
    found = log(C10 + C10[:400] + C10).runs
    assert [run.trouble for run in found] == ["", "incomplete_log", ""]


def test_a_block_that_never_ends_is_given_up() -> None:
    end = b"=" * 50
    assert C10.rstrip().endswith(end)
    (run,) = log(C10.rstrip()[:-50] + b"words\n" * 600 + end + b"\n").runs
    assert run.trouble == "incomplete_log"


def test_a_wider_header_does_not_close_its_block() -> None:
    header = C10.partition(b"\n")[0]
    (run,) = log(C10.replace(header, b"=" * 30 + header + b"=" * 30)).runs
    assert run.trouble == ""


def test_saved_json_says_the_same() -> None:
    found = log(json.dumps(SAVED))
    (run,) = found.runs
    assert found.source.form == "vllm-bench-serve-json"
    (printed,) = log(C10).runs
    assert run.load == printed.load
    assert run.metrics["ttft_mean"] == printed.metrics["ttft_mean"]
    assert (run.speed, run.seconds, run.trouble) == (35.585, 71.21, "")


def test_json_is_read_pretty_appended_and_with_what_only_some_versions_write() -> None:
    assert len(log(json.dumps(SAVED, indent=2)).runs) == 1
    assert len(log("\n".join([json.dumps(SAVED)] * 3)).runs) == 3
    rate = SAVED | {"request_rate": 2.0, "max_concurrency": 4, "planted": [{"a": None}]}
    (run,) = log(json.dumps(rate)).runs
    assert run.load[-2:] == ("concurrency=4", "request_rate=2")


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        ({"output_throughput": "35,58"}, "unreadable_number"),
        ({"output_throughput": [35]}, "unreadable_number"),
        ({"completed": True}, "unreadable_number"),
        ({"output_throughput": 10**400}, "unreadable_number"),
        ({"total_output_tokens": None}, "incomplete_log"),
        ({"completed": 0}, "requests_failed"),
    ],
)
def test_json_with_other_values_is_trouble(changes: dict[str, Any], trouble: str) -> None:
    (run,) = log(json.dumps(SAVED | changes)).runs
    assert run.trouble == trouble


def test_json_that_is_cut_or_of_something_else_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (json.dumps(SAVED)[:-9], '{"a": 1}', "{" * 100_000, "{"):
        with pytest.raises(ConfigurationError, match="is JSON, but not of a benchmark"):
            log(content)
    monkeypatch.setattr(servingjson, "MOST", 10)
    with pytest.raises(ConfigurationError, match="more than 64 MB"):
        log(json.dumps(SAVED))


def test_the_engines_log_tells_its_busy_lines() -> None:
    content = ENGINE.format(10, 40, 3) + "noise\n" + ENGINE.format(30.5, 60.5, 5)
    content += ENGINE.format(0, "0.0", 0)
    found = log(content + ENGINE.format(1, 99, 1)[:110])
    (run,) = found.runs
    assert found.source.form == "vllm-log"
    assert {name: metric.value for name, metric in run.metrics.items()} == {
        "engine_throughput_mean": 50.25,
        "engine_throughput_peak": 60.5,
        "engine_prompt_throughput_peak": 30.5,
        "engine_requests_peak": 5,
        "engine_lines": 2,
    }
    assert (run.load, run.figure) == ((), "")


def test_kernels_that_vllm_names_are_kept_and_those_it_only_considered_are_not() -> None:
    found = log(
        "INFO Using FlashInferCutlassNvFp4LinearKernel for NVFP4 GEMM\n"
        "INFO Using 'FLASHINFER_CUTLASS' NvFp4 MoE backend out of potential backends: ['MARLIN']\n"
    )
    assert found.kernels == ("FlashInferCutlassNvFp4LinearKernel", "FLASHINFER_CUTLASS")
    assert found.runs == ()
    assert found.source.form == "vllm-log"
    warned = log(b"WARNING Your GPU does not have native support for FP4 computation but\n" + C10)
    assert (warned.kernels, len(warned.runs)) == (("marlin",), 1)
    assert warned.source.form == "vllm-bench-serve"


def test_rows_of_flashinfers_csv_are_runs_of_their_capability() -> None:
    found = log(
        csv(
            "mm_fp4,0.285,0.001,13.18,0.026,cutlass,True,128,256,512,42,",
            "mm_fp4,0.3,0.001,13,0.02,cudnn,False,128,256,512,42,",
            "mm_bf16,0.9,0.001,4,0.02,cublas,False,128,256,512,42,",
            'nvfp4_quantize,0.1,0.001,0,0.02,cuda,,128,,512,42,"a,b"',
            "bmm_fp8,0.9,0.001,4,0.02,cublas,False,128,256,512,42,",
        )
    )  # fmt: skip
    assert found.source.form == "flashinfer-benchmark"
    told = [(r.role, r.capability, r.backend, r.load, r.trouble) for r in found.runs]
    shape = ("m=128", "n=256", "k=512")
    assert told == [
        ("native", "gemm", "mm_fp4 cutlass", shape, ""),
        ("native", "mxfp4-gemm", "mm_fp4 cudnn", shape, ""),
        ("baseline", "gemm", "mm_bf16 cublas", shape, ""),
        ("native", "quantize", "nvfp4_quantize cuda", ("m=128", "k=512"), ""),
    ]
    first = found.runs[0]
    assert (first.seeds, first.kernels) == ((42,), ("flashinfer mm_fp4 cutlass",))
    assert first.speed == pytest.approx(1 / 0.285)
    assert first.metrics["tflops"].unit == "TFLOP/s"


REAL = (
    "routine,median_time,std_time,tflops,tb_per_sec,backend,n,use_128x4_sf_layout,use_nvfp4,num_tokens,intermediate_size,"
    "num_experts,top_k,weight_dtype,cutlass_variant,quantized_input,num_tokens,num_experts,top_k,global_scale,sf_layout,"
    "do_shuffle,sf_vec_size,top_k,batch_size,hidden_size,input_dtype,out_dtype,quant_dtype,m,k,enable_pdl,refcheck,"
    "random_seed,case_tag,generate_repro_command,repro_command"
)
"""Columns in the order of FlashInfer's own sample (benchmarks/samples, February 2026), without those of other routines.
Some stand there twice; floats have all their digits, and what a routine does not have may be None."""


def real(**told: str) -> str:
    given = {"random_seed": "42", "refcheck": "True", "case_tag": "None", **told}
    return ",".join(given.get(name, "") for name in REAL.split(","))


def test_a_csv_as_flashinfer_writes_it_is_read_whole() -> None:
    gemm = {"routine": "mm_fp4", "std_time": "9.755467982396113e-05", "m": "512", "n": "1024", "k": "7168",
            "use_nvfp4": "True", "use_128x4_sf_layout": "True", "batch_size": "1", "tb_per_sec": "0.7160839160839161"}  # fmt: skip
    quantize = {"routine": "nvfp4_quantize", "std_time": "0.00016289848577155853", "m": "1024", "k": "4096",
                "batch_size": "None", "input_dtype": "torch.bfloat16", "median_time": "0.0046720000000000004", "backend": "cuda"}  # fmt: skip
    moe = {"routine": "cutlass_fused_moe", "median_time": "0.027808", "num_tokens": "32", "num_experts": "8",
           "top_k": "2", "hidden_size": "128", "intermediate_size": "128", "backend": "cutlass"}  # fmt: skip
    rows = (
        real(**gemm, median_time="0.009152", backend="cudnn"),
        real(**gemm, median_time="0.0091355", backend="cudnn_autotune"),
        real(**quantize, sf_layout="128x4"),
        real(**quantize, sf_layout="8x4", do_shuffle="True"),
        real(**moe, cutlass_variant="nvfp4", quantized_input="True"),
        real(**moe, cutlass_variant="base"),
    )
    told = [
        (r.capability, r.backend, r.load, r.trouble) for r in log("\n".join((REAL, *rows))).runs
    ]
    shape = ("batch_size=1", "m=512", "n=1024", "k=7168")
    experts = (
        "num_tokens=32",
        "hidden_size=128",
        "intermediate_size=128",
        "num_experts=8",
        "top_k=2",
    )
    assert told == [
        ("gemm", "mm_fp4 cudnn use_128x4_sf_layout", shape, ""),
        ("gemm", "mm_fp4 cudnn_autotune use_128x4_sf_layout", shape, ""),
        ("quantize", "nvfp4_quantize cuda bfloat16 128x4", ("m=1024", "k=4096"), ""),
        ("quantize", "nvfp4_quantize cuda bfloat16 8x4 do_shuffle", ("m=1024", "k=4096"), ""),
        ("moe", "cutlass_fused_moe cutlass quantized_input", experts, ""),
    ]


def test_the_newer_routines_of_experts_are_known_and_weight_only_ones_are_none() -> None:
    text = csv(
        "unified_nvfp4_moe,0.2,0.001,13,0.02,cutlass,,,,,42,",
        "b12x_fused_moe,0.2,0.001,13,0.02,b12x,,,,,42,",
    )
    assert [run.capability for run in log(text).runs] == ["moe", "moe"]
    text = "routine,median_time,backend,fp4_mode\nb12x_fused_moe,0.2,b12x,nvfp4\nb12x_fused_moe,0.1,b12x,w4a16\n"
    assert [run.metrics["median_time"].value for run in log(text).runs] == [0.2]


def test_a_release_whose_csv_does_not_name_the_format_has_nvfp4() -> None:
    text = csv("mm_fp4,0.285,0.001,13.18,0.026,cutlass,,128,256,512,42,")
    assert [run.capability for run in log(text).runs] == ["gemm"]


def test_in_a_baselines_csv_every_row_of_a_comparable_routine_is_one() -> None:
    rows = (
        "mm_fp4",
        "bmm_fp8",
        "trtllm_fp8_block_scale_moe",
        "rmsnorm",
        "moe_a2a_dispatch_combine",
    )
    text = csv(*(f"{name},0.2,0,1,1,x,True,1,2,3,42," for name in rows))
    found = log(text, "baseline").runs
    assert [(run.role, run.capability) for run in found] == [
        ("baseline", "gemm"),
        ("baseline", "gemm"),
        ("baseline", "moe"),
    ]


def test_a_csv_of_another_locale_or_cut_is_trouble() -> None:
    row = "mm_fp4;0,285;0,001;13,18;0,026;cutlass;True;128;256;512;42;"
    text = ";".join(COLUMNS) + "\n" + row + "\n" + row[:40]
    assert [run.trouble for run in log(text).runs] == ["unreadable_number", "incomplete_log"]
    zero = log(csv("mm_fp4,0.0,0,1,1,cutlass,True,1,2,3,42,")).runs[0]
    assert zero.trouble == "inconsistent_numbers"


def test_a_csv_without_fp4_is_one_line() -> None:
    with pytest.raises(ConfigurationError, match="no row of it is of an FP4 routine"):
        log(csv("rmsnorm,0.9,0.001,4,0.02,cuda,False,128,256,512,42,"))


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"hello\n", b"\0" * 99, b"\x89PNG\r\n\x1a\n", b"=" * 99]
)
def test_what_is_no_log_is_one_line_that_names_it(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"^file: [^\n]*vllm bench serve[^\n]*$"):
        log(content)


def test_too_many_runs_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_RUNS", 2)
    with pytest.raises(ConfigurationError, match="more than 2 runs"):
        log(C10 * 3)


FRAGMENTS = [C10, C10[:300], json.dumps(SAVED).encode(), ENGINE.format(1, 2, 3).encode()]
FRAGMENTS += [
    csv("mm_fp4,0.2,0.0,13,0.0,cutlass,True,1,2,3,42,").encode(),
    b"{",
    b"\n",
    b"\r",
    b'"',
]
FRAGMENTS += [b"\x1b[", b"\0", b"\xff\xfe", b"Output token throughput (tok/s): ", b"9" * 30, b"="]


@given(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=40), max_size=8))
def test_no_content_does_more_than_raise_a_configuration_error(parts: list[bytes]) -> None:
    try:
        found = log(b"".join(parts))
    except ConfigurationError:
        return
    for run in found.runs:
        assert bool(run.trouble) == (not run.figure) or found.source.form == "vllm-log"
        if run.figure:
            assert run.speed > 0
            assert run.load or found.source.form == "flashinfer-benchmark"


@pytest.mark.parametrize(
    "line",
    [
        b"=" * 65_000 + b"x",
        b"Output token throughput (tok/s):" + b" " * 65_000 + b"x",
        b"Total " * 10_000,
        b"\x1b[" * 30_000,
        b"Using " * 10_000 + b"FP4",
        b"Avg generation throughput: " * 2_000,
    ],
)
def test_no_line_takes_long(line: bytes) -> None:
    start = time.process_time()
    log(C10[:60] + (line + b"\n") * 20 + C10)
    assert time.process_time() - start < 2
