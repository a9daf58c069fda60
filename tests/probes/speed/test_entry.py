"""Who may take part in a race, and who is left out for what."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.request import Request
from probes.speed.entry import AGAIN, BAR, NATIVE, Entry, near
from probes.speed.timer import Work
from probes.subject import Charged, ChargedError, NotOfferedError
from probes.subjects import reference

pytestmark = pytest.mark.torch

WANT = torch.tensor([1.0, -2.0, 3.0])
RUN = Request(run="r", stack="s", target="cpu", machine="x86_64", subject="reference", results="")


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Entry:
    monkeypatch.setattr(
        reference, "OFFERS", {"w4a16_gemm": ("broken", "plain", "last"), "quantize": ("plain",)}
    )
    return Entry(Charged(reference.make(torch.device("cpu"))), RUN)


def raising(error: Exception) -> Callable[[], object]:
    def work() -> object:
        raise error

    return work


def test_the_first_weight_only_backend_that_works_is_the_bar(entry: Entry) -> None:
    asked = []

    def make(backend: str) -> Work:
        asked.append(backend)
        return raising(RuntimeError("no")) if backend == "broken" else lambda: WANT

    entry.bar("w4a16_gemm", make, WANT)

    assert asked == ["broken", "plain"]
    assert list(entry.works) == [BAR]
    assert entry.barred == "w4a16 (plain)"
    assert entry.left_out == {}


def test_a_bar_that_no_backend_gives_is_left_out_with_the_last_reason(entry: Entry) -> None:
    entry.bar("w4a16_gemm", lambda _: raising(RuntimeError("K is no multiple of 256")), WANT)
    assert "K is no multiple of 256" in entry.left_out[BAR]

    entry.bar("w4a16_moe", lambda _: lambda: WANT, WANT)
    assert entry.left_out[BAR] == "w4a16_moe is not offered"
    assert entry.works == {}


def test_native_is_called_once_before_it_is_timed_and_charged_with_what_it_raises(
    entry: Entry,
) -> None:
    assert entry.native(NATIVE, "gemm", lambda: WANT) is WANT
    with pytest.raises(ChargedError, match="gemm"):
        entry.native(AGAIN, "gemm", raising(ValueError("bad shape")))
    assert list(entry.works) == [NATIVE]


def test_a_timed_call_that_fails_is_charged_too(entry: Entry) -> None:
    calls = []

    def work() -> object:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("no kernel image is available for execution on the device")
        return WANT

    entry.native(NATIVE, "gemm", work)

    with pytest.raises(ChargedError) as caught:
        entry.works[NATIVE]()
    assert (caught.value.operation, caught.value.reason) == ("gemm", "no_kernel_image")


def test_a_baseline_that_kills_the_device_ends_the_probe(entry: Entry) -> None:
    with pytest.raises(ChargedError, match="fp8"):
        entry.baseline(
            "fp8", lambda: raising(RuntimeError("an illegal memory access was encountered")), WANT
        )


def test_the_backend_that_is_offered_first_is_given(entry: Entry) -> None:
    assert entry.first("w4a16_gemm") == "broken"
    with pytest.raises(NotOfferedError):
        entry.first("moe")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (WANT, True),
        (2 * WANT + 0.1, True),
        (-WANT, False),
        (torch.zeros(3), False),
        (torch.full((3,), torch.nan), False),
        (WANT[:2], False),
        (None, False),
    ],
)
def test_near_is_about_the_same_thing_roughly(made: object, expected: bool) -> None:
    assert near(made, WANT) is expected
