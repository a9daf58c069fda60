"""The CSV of FlashInfer's benchmarks/flashinfer_benchmark.py: a row a routine, shape and backend."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from matrix.result import Metric, Role, Source, Unit
from matrix.runs.run import Run, number
from matrix.runs.serving import LEAST, MOST
from matrix.vocabulary import Reason

FIGURE: Final = "median_time"
_ROUTINES: Final = {
    "mm_fp4": "gemm",
    "nvfp4_quantize": "quantize",
    "nvfp4_batched_quantize": "quantize",
    "mxfp4_quantize": "mxfp4-quantize",
    "trtllm_fp4_block_scale_moe": "moe",
    "cute_dsl_fp4_block_scale_moe": "moe",
    "b12x_fused_moe": "moe",
    "unified_nvfp4_moe": "moe",
}
"""Routines whose operands are FP4, and the capability that they are of (benchmarks/routines/flashinfer_benchmark_utils.py)."""

_BASELINES: Final = {"mm_bf16": "gemm", "bmm_bf16": "gemm"}
_METRICS: Final[tuple[tuple[str, Unit], ...]] = (
    (FIGURE, "ms"),
    ("std_time", "ms"),
    ("tflops", "TFLOP/s"),
    ("tb_per_sec", "TB/s"),
)
_SHAPE: Final = (
    "batch_size",
    "m",
    "n",
    "k",
    "num_tokens",
    "hidden_size",
    "intermediate_size",
    "num_experts",
    "top_k",
)
_SWITCHES: Final = ("use_128x4_sf_layout", "quantized_input", "do_shuffle", "enable_pdl")
_NO: Final = frozenset({"false", "0", "no"})
_NOTHING: Final = frozenset({"", "None"})
"""What stands in a column that a routine does not have: rows are filled up from arguments, which may be None."""


def delimiter(head: str) -> str:
    """Tell what parts the columns of a file that begins with `head`; "" where it is no such CSV."""
    for sign in (",", ";", "\t"):
        columns = head.strip().split(sign)
        if "routine" in columns and FIGURE in columns:
            return sign
    return ""


def rows(lines: Iterable[str], sign: str) -> Iterator[dict[str, str] | None]:
    """Yield each row by column; None for one that has not all columns, as a cut last one."""
    reader = csv.reader(lines, delimiter=sign)
    header: list[str] = []
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield None
            continue
        if not header:
            header = row
        elif len(row) != len(header):
            yield None
        elif row != header:
            yield {column: value.strip() for column, value in zip(header, row, strict=True)}


def row_run(row: Mapping[str, str] | None, source: Source) -> Run | None:
    """Make the run of a row; None where it is of another format than FP4, and no baseline."""
    if row is None:
        return _cut(source)
    routine = row.get("routine", "")
    capability = _capability(routine, row)
    role: Role = source.role
    if role == "native" and not capability:
        capability, role = _BASELINES.get(routine, ""), "baseline"
    elif not capability:
        capability = _group(routine)
    if not capability:
        return None
    metrics: dict[str, Metric] = {}
    trouble: Reason = ""
    text = ""
    for column, unit in _METRICS:
        value = number(row.get(column, ""))
        if value is not None:
            metrics[column] = Metric(value=value, unit=unit)
        elif column == FIGURE or row.get(column):
            trouble, text = "unreadable_number", f"{column} is {row.get(column, '')[:40]!r}"
    if not trouble and not LEAST < metrics[FIGURE].value < MOST:
        trouble, text = "inconsistent_numbers", "it took no time"
    shape = [f"{name}={row[name]}" for name in _SHAPE if row.get(name, "") not in _NOTHING]
    backend = " ".join((routine, *_variant(capability, row)))
    seed = row.get("random_seed", "")
    return Run(
        source=source,
        role=role,
        capability=capability,
        load=tuple(shape),
        metrics=metrics,
        figure="" if trouble else FIGURE,
        lower=True,
        alone=True,
        backend=backend[:80],
        kernels=(f"flashinfer {backend[:80]}",) if role == "native" else (),
        seeds=(int(seed),) if seed.isascii() and seed.isdigit() and len(seed) < 18 else (),  # noqa: PLR2004 - fits 64 bits
        trouble=trouble,
        text=text,
    )


def _capability(routine: str, row: Mapping[str, str]) -> str:
    """Name what an FP4 routine is of; MXFP4's own capability where the row says so, "" for other formats."""
    found = _ROUTINES.get(routine, "")
    if routine == "mm_fp4" and row.get("use_nvfp4", "").lower() in _NO:
        return "mxfp4-gemm"  # releases without this column have NVFP4 alone
    if routine == "cutlass_fused_moe" and row.get("cutlass_variant", "").lower() == "nvfp4":
        return "moe"
    mode = row.get("fp4_mode", "").lower()
    if found == "moe" and mode.startswith("mxfp4"):
        return "mxfp4-moe"
    if found == "moe" and mode == "w4a16":
        return ""  # FP4 weights under 16-bit activations
    return found


def _variant(capability: str, row: Mapping[str, str]) -> Iterator[str]:
    """Yield what tells apart two rows of one routine and shape that are no repeats: backend, scale layout, switches.

    It is of the kernel and not of the problem, so that a row still pairs with a baseline that knows none of it.
    """
    told = [row.get("resolved_backend", ""), row.get("backend", "")]
    yield from [name for name in told if name not in _NOTHING][:1]
    if capability.endswith("quantize"):
        yield from (
            row[name].removeprefix("torch.")
            for name in ("input_dtype", "sf_layout")
            if row.get(name, "") not in _NOTHING
        )
    yield from (name for name in _SWITCHES if row.get(name) == "True")


def _group(routine: str) -> str:
    """Name what a routine of another format stands beside, in a file that is said to be the baseline."""
    if "moe" in routine and "comm" not in routine and "a2a" not in routine:
        return "moe"
    return "gemm" if routine.startswith(("mm_", "bmm_")) else ""


def _cut(source: Source) -> Run:
    return Run(
        source=source,
        role=source.role,
        capability="gemm",
        trouble="incomplete_log",
        text="a row has not all columns",
    )
