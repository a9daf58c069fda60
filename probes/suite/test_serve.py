"""Does a whole model serve, by a native kernel, and faster than AWQ? Dummy weights, `vllm serve` and `vllm bench serve`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import pytest

from probes.case import Case
from probes.check import Load as CaseLoad
from probes.check import check
from probes.finding import Finding, refused
from probes.request import Request
from probes.serving import enginelog, modelconfig
from probes.serving.served import Outcome, Place, outcome
from probes.serving.server import MEMORY
from probes.serving.servingload import FIGURE, Load
from probes.subject import Charged

BAR: Final = 0.05
"""The loss against AWQ that is called slow, where equal runs do not differ by more: the rule of imports (docs/results.md)."""

STREAMS: Final = (1, 10, 30)
_SHOWN: Final = ("ttft", "itl", "tpot")


def loads(run: Request, model: str) -> Sequence[Load]:
    """Return the loads that one server of a model gets, the gentlest first."""
    small = run.scale != "full"
    vision = model == "vision"
    streams = (30,) if vision else STREAMS
    return [
        Load(
            streams=each,
            requests=each if small else max(8, 3 * each),
            input_tokens=64 if vision or small else 512,
            output_tokens=16 if small else 128,
            images=vision,
        )
        for each in streams
    ]


def serving_loads(run: Request) -> Iterator[CaseLoad]:
    """Yield each model under each number of streams; for the vision model, thirty captions at a time."""
    for model in modelconfig.MODELS:
        for load in loads(run, model):
            yield {"model": model, **_told(load)}


@check("serve", serving_loads)
@pytest.mark.limit(7200)
def test_serving(subject: Charged, case: Case, run: Request) -> Finding:
    """Serve the model in NVFP4 and in AWQ on the same machine, and send both the same load."""
    del subject
    place, model = Place.of(run), case.word("model")
    asked = loads(run, model)
    load = next(each for each in asked if each.streams == case["streams"])
    native = outcome(place, model, case.backend, asked, load)
    if native.reason:
        return refused(native.reason, native.text, metrics=_figures(native), selected=case.backend)
    baseline = outcome(place, model, modelconfig.BASELINE, asked, load)
    return replace(judged(native, baseline), selected=case.backend)


def judged(native: Outcome, baseline: Outcome) -> Finding:
    """Judge an NVFP4 server against AWQ's, in the order of imports: a fallback first, then the speed bar.

    Slow is more than BAR below AWQ, or more than equal runs of either differ where that is more.
    """
    marks = ["numbers-unchecked"] if native.kernels else ["kernels-unproven", "numbers-unchecked"]
    metrics = _figures(native)
    status, reason, text = "skip", "no_baseline", f"AWQ does not serve here: {baseline.text}"
    if not baseline.reason:
        ratio = round(native.speed / baseline.speed, 4)
        spread = round(max(native.spread, baseline.spread), 4)
        metrics["speed_ratio"] = (ratio, "ratio")
        metrics["repeat_spread"] = (spread, "ratio")
        for name, value in baseline.middle.items():
            if name == FIGURE or name.startswith(_SHOWN):
                metrics[f"baseline_{name}"] = value
        slow = ratio < 1 - max(BAR, spread)
        status, reason = ("slow", "slower_than_baseline") if slow else ("pass", "")
        text = f"{ratio:.3f} of AWQ's speed; equal runs differ by {spread:.3f}"
    if because := enginelog.fallback(native.kernels):
        status, reason = "fallback", because
        text = f"vLLM uses {', '.join(native.kernels)}; {text}"
    return Finding(
        status=status,
        reason=reason,
        text=text,
        kernels=native.kernels,
        advertised=", ".join(native.kernels),
        marks=tuple(marks),
        metrics=metrics,
        durations={"start": native.started, "baseline_start": baseline.started},
    )


def _figures(found: Outcome) -> dict[str, tuple[float, str]]:
    figures = dict(found.middle) if found.runs else {}
    return figures | {"memory_asked": (float(MEMORY), "B")}


def _told(load: Load) -> CaseLoad:
    return {
        "streams": load.streams,
        "requests": load.requests,
        "input_tokens": load.input_tokens,
        "output_tokens": load.output_tokens,
    }
