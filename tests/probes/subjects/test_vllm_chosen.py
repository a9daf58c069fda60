from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import matrix
from probes.case import Case
from probes.finding import Finding
from probes.plugin import Probes
from probes.request import Request
from probes.subjects import vllm
from probes.subjects.vllm_chosen import backend_of

pytestmark = pytest.mark.torch

LEDGER = Path(matrix.__file__).parent / "ledger/selected/vllm"


def chosen(version: str, target: str, kind: str, environment: str = "slim") -> str:
    """What a real release chose, as the ledger has it."""
    held = json.loads((LEDGER / f"{version}-x86_64.json").read_text(encoding="utf-8"))
    told = held["environments"][environment]["targets"][target][kind]["selected"]
    return str(told or "")


@pytest.mark.parametrize("version", ["0.12.0", "0.33.0"])
@pytest.mark.parametrize(
    ("operation", "kind"),
    [("gemm", "dense_w4a4"), ("moe", "moe_w4a4"), ("grouped_gemm", "moe_w4a4"), ("quantize", "dense_w4a4")],
)  # fmt: skip
def test_its_own_kernels_are_the_backend_that_is_probed_where_a_release_chooses_them(
    version: str, operation: str, kind: str
) -> None:
    selected = chosen(version, "sm120", kind)
    assert backend_of(operation, selected, target="sm120") in vllm.OFFERS[operation]


@pytest.mark.parametrize("operation", ["gemm", "moe"])
@pytest.mark.parametrize("version", ["0.12.0", "0.20.2", "0.27.1", "0.33.0"])
def test_flashinfer_s_kernels_are_called_as_it_calls_them_where_it_chooses_them(
    operation: str, version: str
) -> None:
    kind = {"gemm": "dense_w4a4", "moe": "moe_w4a4"}[operation]
    for target in ("sm100", "sm103", "sm120"):
        selected = chosen(version, target, kind, "devel")
        backend = backend_of(operation, selected, target=target)
        assert backend in (*vllm.OFFERS[operation], "FLASHINFER_TRTLLM")


def test_it_quantizes_for_others_kernels_and_for_no_weight_only_one() -> None:
    devel, control = (chosen("0.33.0", each, "dense_w4a4", "devel") for each in ("sm120", "sm90"))
    assert backend_of("quantize", devel, target="sm120") == "vllm"
    assert backend_of("quantize", control, target="sm90") != "vllm"


def test_the_wheel_writes_the_cache_on_10x_alone() -> None:
    assert backend_of("kv_cache", "FLASHINFER", target="sm100") == "vllm"
    assert backend_of("kv_cache", "FLASHINFER", target="sm120") != "vllm"


def test_a_choice_that_nobody_knows_is_no_backend() -> None:
    assert all(backend_of(each, "", target="sm120") == "" for each in vllm.OFFERS)
    assert backend_of("serve", "modelopt", target="sm120") == "modelopt"


def test_what_the_release_chose_settles_the_cell_and_other_backends_do_not() -> None:
    asked = Request(
        run="r", stack="s", target="sm120", machine="x86_64", results="none", subject="vllm"
    )
    run = Probes(asked)
    found = Finding(
        status="fail", reason="all_zero", selected=chosen("0.33.0", "sm120", "dense_w4a4")
    )
    marks = {
        backend: run._marked(found, Case("correctness.gemm", "gemm", backend)).marks
        for backend in ("cutlass", "torch")
    }
    crashed = Finding(status="fail", reason="segfault", selected="MarlinNvFp4LinearKernel")
    aside = run._marked(crashed, Case("correctness_weight.x", "w4a16_gemm", "marlin"))
    run.pytest_unconfigure()
    assert aside.marks == ("one-kernel",)
    assert marks == {"cutlass": (), "torch": ("one-kernel",)}
