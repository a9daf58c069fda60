from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from probes.case import Case
from probes.correctness.making import representative
from probes.endurance import xid
from probes.finding import Finding
from probes.request import Request
from probes.subject import Charged
from probes.subjects.reference import Reference
from probes.suite import test_soak, test_stability

CPU = torch.device("cpu")


class Faulty(Reference):
    """The reference with one thing wrong: `gemm` does `fault` at its call number `at`."""

    def __init__(self, fault: Callable[[Any], Any] | None = None, at: int = -1) -> None:
        super().__init__(CPU)
        self.fault, self.at, self.calls = fault, at, 0

    def gemm(self, *args: Any, **kwargs: Any) -> Any:
        made = super().gemm(*args, **kwargs)
        self.calls += 1
        return self.fault(made) if self.fault and self.calls == self.at else made


class Tuned(Faulty):
    """A package with three tactics, one of which does `fault`."""

    def __init__(self, fault: Callable[[Any], Any]) -> None:
        super().__init__(fault)
        self.tuning: Callable[[], None] = lambda: None

    def tactics(self, operation: str, backend: str, call: Callable[[], Any]) -> list[str]:
        del operation, backend
        call()
        return ["tile_64", "tile_128", "tile_256"]

    def with_tactic(self, tactic: str, call: Callable[[], Any]) -> Any:
        self.at = 1 if tactic == "tile_128" else -1
        return call()

    def autotune(self, call: Callable[[], Any]) -> Any:
        self.at = -1
        self.tuning()
        return call()


def flip(made: Any) -> Any:
    made = made.clone()
    made.view(-1)[0] += 1
    return made


def twist(made: Any) -> Any:
    return made * 3


def die(made: Any) -> Any:
    os.kill(os.getpid(), signal.SIGILL)
    return made


def request_(**options: Any) -> Request:
    return Request(
        run="r", stack="s", target="sm120", machine="x86_64", subject="reference", device="cpu",
        results="unused", scale="small", options={"replays": 120, "soak_seconds": 0.2, **options},
    )  # fmt: skip


def case(operation: str = "gemm", **more: Any) -> Case:
    load = {**representative(operation, request_()), **more}
    return Case(f"stability.{operation}", operation, "plain", load)


@pytest.mark.parametrize("operation", ["gemm", "grouped_gemm", "moe", "quantize"])
def test_replays_of_the_reference_pass_and_digest_every_size(operation: str) -> None:
    found = test_stability.test_replays(Charged(Faulty()), case(operation, replays=60), request_())
    assert found.status == "pass", found.text
    assert found.metrics["replays"] == (60.0, "1")
    assert len(found.digests) >= 3


def test_one_wrong_value_in_a_hundred_replays_is_corruption_and_told_when() -> None:
    subject = Charged(Faulty(flip, at=60))
    found = test_stability.test_replays(subject, case(replays=120), request_())
    assert (found.status, found.reason) == ("fail", "corruption")
    assert "replay " in found.text
    assert " m_" in found.text


def test_a_first_replay_that_is_wrong_is_no_corruption_but_named() -> None:
    found = test_stability.test_replays(Charged(Faulty(twist, at=2)), case(replays=9), request_())
    assert (found.status, found.reason) == ("fail", "wrong_scale")


def test_numbers_that_may_round_in_any_order_are_held_within_rounding_only() -> None:
    from probes.endurance import replay  # noqa: PLC0415 - beside what it replaces

    calm = test_stability.test_replays(Charged(Faulty()), case("moe", replays=30), request_())
    assert calm.status == "pass"
    assert replay.SIZED["moe"] == "tokens"


def test_the_replays_of_one_seed_are_the_same_everywhere() -> None:
    run = [
        test_stability.test_replays(Charged(Faulty()), case(replays=30), request_())
        for _ in range(2)
    ]
    assert run[0].digests == run[1].digests


def test_a_soak_lasts_as_long_as_it_is_told(tmp_path: Path) -> None:
    del tmp_path
    begun = time.monotonic()
    found = test_soak.test_operation(Charged(Faulty()), case(seconds=0.5), request_())
    assert found.status == "pass"
    assert found.metrics["soaked"][0] >= 0.5
    assert time.monotonic() - begun < 20


def test_a_result_that_changes_during_a_soak_is_corruption() -> None:
    found = test_soak.test_operation(Charged(Faulty(flip, at=40)), case(seconds=5.0), request_())
    assert (found.status, found.reason) == ("fail", "corruption")


def test_an_xid_error_during_a_soak_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told = ("Xid 31: NVRM: Xid (PCI:0000:01:00): 31, pid=7, MMU Fault",)
    monkeypatch.setattr(xid.Watch, "found", lambda _: told)
    found = test_soak.test_operation(Charged(Faulty()), case(seconds=60.0), request_())
    assert (found.status, found.reason) == ("fail", "xid")
    assert "MMU Fault" in found.text


def test_a_run_whose_xid_errors_nobody_could_watch_is_marked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = xid.Watch
    monkeypatch.setattr(xid, "Watch", lambda: made(tmp_path / "absent", object()))
    found = test_soak.test_operation(Charged(Faulty()), case(seconds=0.1), request_())
    assert xid.UNWATCHED in found.marks


def tactics(fault: Callable[[Any], Any]) -> Finding:
    return test_stability.test_tactics(lambda: Charged(Tuned(fault)), case(), request_())


def test_every_tactic_is_run_and_counted() -> None:
    found = tactics(lambda made: made)
    assert found.status == "pass"
    assert found.metrics["tactics"] == (3.0, "1")


@pytest.mark.parametrize(
    ("fault", "reason"), [(die, "illegal_instruction"), (twist, "wrong_scale")]
)
def test_the_one_tactic_that_fails_is_named_and_takes_no_other_with_it(
    fault: Callable[[Any], Any], reason: str
) -> None:
    found = tactics(fault)
    assert (found.status, found.reason) == ("fail", reason)
    assert found.text.startswith(f"1 of 3 tactics: tile_128: {reason}")
    assert found.metrics["tactics_failed"] == (1.0, "1")


def test_a_tactic_that_hangs_is_ended_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_stability, "_TACTIC_LIMIT", 1.5)

    def wait(made: Any) -> Any:
        time.sleep(60)
        return made

    found = tactics(wait)
    assert (found.status, found.reason) == ("fail", "hang")
    assert "tile_128: hang" in found.text


def test_a_package_without_tactics_is_skipped() -> None:
    found = test_stability.test_tactics(lambda: Charged(Faulty()), case(), request_())
    assert (found.status, found.reason) == ("skip", "not_offered")


def autotune(tuning: Callable[[], None]) -> Finding:
    def made() -> Charged:
        subject = Tuned(lambda made: made)
        subject.tuning = tuning
        return Charged(subject)

    return test_stability.test_autotune(made, case(), request_(silence_seconds=1.5))


def test_tuning_that_speaks_now_and_then_may_take_its_time() -> None:
    def tune() -> None:
        for step in range(10):
            os.write(1, f"[Autotuner]: profile {step}\n".encode())
            time.sleep(0.3)

    found = autotune(tune)
    assert found.status == "pass", found.text
    assert found.durations["autotune"] >= 3


def test_tuning_that_falls_silent_is_a_stall_with_its_last_words() -> None:
    def tune() -> None:
        os.write(1, b"[Autotuner]: profile 3 of 9\n")
        time.sleep(60)

    found = autotune(tune)
    assert (found.status, found.reason) == ("fail", "autotune_stall")
    assert "profile 3 of 9" in found.text


def test_tuning_that_dies_is_told_by_its_signal() -> None:
    assert autotune(lambda: os.kill(os.getpid(), signal.SIGSEGV)).reason == "segfault"
