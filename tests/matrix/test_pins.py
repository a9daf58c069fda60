from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from matrix.cell import Cell, Report, StackSummary, TargetSummary
from matrix.driver import drivers
from matrix.pins import GOOD, Host, choose, ordered
from matrix.vocabulary import Environment, Machine, Reason, Verdict

BOTH: tuple[Machine, ...] = ("x86_64", "aarch64")
Seen = Mapping[tuple[Machine, str], tuple[Verdict, Reason]]
GOOD_GEMM: Seen = {(m, "gemm"): ("likely", "") for m in BOTH}
BAD_GEMM: Seen = {(m, "gemm"): ("broken", "trap_kernel") for m in BOTH}


def stack(
    name: str,
    *,
    machines: tuple[Machine, ...] = BOTH,
    cuda: Mapping[str, str] | None = None,
    python: str = ">=3.10",
) -> StackSummary:
    lead, _, version = name.partition("==")
    return StackSummary(
        name=name,
        package=lead.partition("[")[0],
        version=version,
        machines=machines,
        pins={m: {lead: version} for m in machines},
        cuda=dict(cuda if cuda is not None else dict.fromkeys(machines, "13.0")),
        requires_python=python,
    )


def report(
    *seen: tuple[StackSummary, Seen],
    target: str = "sm100",
    environment: Environment = "slim",
    asked: Collection[str] = (),
) -> Report:
    cells = tuple(
        Cell(
            stack=each.name,
            target=target,
            machine=machine,
            environment=environment,
            capability=capability,
            declared="yes",
            compiled="yes",
            selected="native" if each.name in asked else "not_asked",
            executed="",
            verdict=verdict,
            reason=reason,
        )
        for each, cells in seen
        for (machine, capability), (verdict, reason) in cells.items()
    )
    named = TargetSummary(name=target, compute_capability="10.0", machines=BOTH, products=("B200",))
    return Report(
        generated="2026-11-21T03:00:00Z",
        targets=(named,),
        stacks=tuple(each for each, _ in seen),
        cells=cells,
        contradictions=(),
    )


def reason(given: Report, needs: tuple[str, ...] = ("gemm",), host: Host | None = None) -> str:
    """The one stack's reason, on both machines."""
    (only,) = choose(given, target="sm100", needs=needs, machines=BOTH, host=host).rejected
    return only.reason


def test_newest_and_oldest_are_by_release_and_the_others_are_told() -> None:
    given = report(
        (stack("vllm==0.11.0"), GOOD_GEMM),
        (stack("vllm==0.9.2"), GOOD_GEMM),
        (stack("vllm==0.10.0"), BAD_GEMM),
        (stack("vllm==0.33.0"), BAD_GEMM),
    )
    choice = choose(given, target="sm100", needs=("gemm",), machines=BOTH)
    assert (choice.newest, choice.oldest) == ("vllm==0.11.0", "vllm==0.9.2")
    assert [each.stack for each in choice.rejected] == ["vllm==0.33.0", "vllm==0.10.0"]


def test_nothing_that_qualifies_is_two_nulls() -> None:
    choice = choose(
        report((stack("vllm==0.11.0"), BAD_GEMM)), target="sm100", needs=("gemm",), machines=BOTH
    )
    assert (choice.newest, choice.oldest) == (None, None)


def test_at_one_version_the_plain_stack_is_chosen_at_both_ends() -> None:
    given = report(
        (stack("vllm[flashinfer]==0.11.0"), GOOD_GEMM),
        (stack("vllm==0.11.0"), GOOD_GEMM),
        (stack("vllm[flashinfer]==0.10.1"), GOOD_GEMM),
        (stack("vllm==0.10.1"), GOOD_GEMM),
    )
    choice = choose(given, target="sm100", needs=("gemm",), machines=BOTH)
    assert (choice.newest, choice.oldest) == ("vllm==0.11.0", "vllm==0.10.1")


def test_the_extra_is_chosen_where_only_it_qualifies() -> None:
    given = report(
        (stack("vllm==0.11.0"), BAD_GEMM), (stack("vllm[flashinfer]==0.11.0"), GOOD_GEMM)
    )
    choice = choose(given, target="sm100", needs=("gemm",), machines=BOTH)
    assert choice.newest == choice.oldest == "vllm[flashinfer]==0.11.0"
    assert [each.stack for each in choice.rejected] == ["vllm==0.11.0"]


def test_the_oldest_is_a_release_of_the_same_package() -> None:
    given = report((stack("vllm==0.11.0"), GOOD_GEMM), (stack("sglang==0.4"), GOOD_GEMM))
    choice = choose(given, target="sm100", needs=("gemm",), machines=BOTH)
    assert (choice.newest, choice.oldest) == ("vllm==0.11.0", "vllm==0.11.0")


@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_only_works_and_likely_qualify(verdict: Verdict) -> None:
    given = report((stack("vllm==0.11.0"), {(m, "gemm"): (verdict, "") for m in BOTH}))
    choice = choose(given, target="sm100", needs=("gemm",), machines=BOTH)
    assert (choice.newest is not None) == (verdict in {"works", "likely"})


def test_every_need_and_every_machine_must_be_good() -> None:
    mixed: Seen = {
        ("x86_64", "gemm"): ("likely", ""),
        ("x86_64", "moe"): ("likely", ""),
        ("aarch64", "gemm"): ("likely", ""),
        ("aarch64", "moe"): ("broken", "torch_without_cuda"),
    }
    given = report((stack("vllm==0.19.1"), mixed))
    assert reason(given, ("gemm", "moe")) == "moe on aarch64: broken (torch_without_cuda)"
    one = choose(given, target="sm100", needs=("gemm", "moe"), machines=("x86_64",))
    assert one.newest == "vllm==0.19.1"
    assert choose(given, target="sm100", needs=("gemm",), machines=BOTH).newest == "vllm==0.19.1"


def test_needs_with_the_same_trouble_are_told_together_and_the_worst_first() -> None:
    given = report(
        (
            stack("vllm==0.19.1"),
            {
                ("x86_64", "gemm"): ("unknown", "not_measured"),
                ("x86_64", "moe"): ("fallback", "weight_only_fallback"),
                ("aarch64", "gemm"): ("broken", "trap_kernel"),
                ("aarch64", "moe"): ("broken", "trap_kernel"),
            },
        )
    )
    assert reason(given, ("gemm", "moe")) == (
        "gemm, moe on aarch64: broken (trap_kernel); "
        "moe on x86_64: fallback (weight_only_fallback); gemm on x86_64: unknown (not_measured)"
    )


def test_a_release_without_a_wheel_for_a_machine_is_said_so() -> None:
    lacks: Seen = {**GOOD_GEMM, ("aarch64", "gemm"): ("unavailable", "no_wheel")}
    given = report((stack("vllm==0.9.2", machines=("x86_64",)), lacks))
    assert reason(given) == "vllm 0.9.2 has no wheel for aarch64, only for x86_64"


def test_a_wheel_that_was_not_read_yet_is_not_called_absent() -> None:
    unread: Seen = {**GOOD_GEMM, ("aarch64", "gemm"): ("unknown", "not_measured")}
    given = report((stack("vllm==0.9.2", machines=("x86_64",)), unread))
    assert reason(given) == "gemm on aarch64: unknown (not_measured)"


def test_a_cell_that_is_not_there_is_not_taken_for_good() -> None:
    assert (
        reason(report((stack("vllm==0.9.2"), {}))) == "gemm on x86_64 and aarch64: nothing is known"
    )


def test_the_other_environment_does_not_count() -> None:
    given = report((stack("vllm==0.11.0"), GOOD_GEMM), environment="devel")
    assert choose(given, target="sm100", needs=("gemm",), machines=BOTH).newest is None
    devel = choose(given, target="sm100", needs=("gemm",), machines=BOTH, environment="devel")
    assert devel.newest == "vllm==0.11.0"


def test_a_driver_older_than_the_cuda_of_the_stack_rejects_it() -> None:
    given = report(
        (stack("vllm==0.33.0"), GOOD_GEMM),
        (stack("vllm==0.12.0", cuda=dict.fromkeys(BOTH, "12.8")), GOOD_GEMM),
    )
    host = Host(driver="570", first_cuda="12.8", drivers=drivers())
    choice = choose(given, target="sm100", needs=("gemm",), machines=BOTH, host=host)
    assert choice.newest == "vllm==0.12.0"
    assert choice.rejected[0].reason == "driver 570 is older than 580.65.06, which CUDA 13.0 needs"


def test_a_driver_that_does_not_know_the_gpu_rejects_everything() -> None:
    given = report((stack("vllm==0.12.0", cuda=dict.fromkeys(BOTH, "12.6")), GOOD_GEMM))
    host = Host(driver="565.57", first_cuda="12.8", drivers=drivers())
    assert reason(given, host=host) == (
        "driver 565.57 is older than 570.26, the first that knows sm100"
    )


def test_a_stack_whose_cuda_is_not_known_is_not_promised_to_run_on_a_driver() -> None:
    given = report((stack("vllm==0.33.0", cuda={}), GOOD_GEMM))
    assert "not known" in reason(given, host=Host(driver="580", drivers=drivers()))
    assert choose(given, target="sm100", needs=("gemm",), machines=BOTH).newest == "vllm==0.33.0"


@pytest.mark.parametrize(
    ("requires", "python", "fits"),
    [
        (">=3.11", "3.10", False),
        (">=3.10,<3.14", "3.13", True),
        (">=3.10,<3.14", "3.14", False),
        (">=3.10.4", "3.10", True),  # some patch release of it
        ("", "3.8", True),
        ("no specifier", "3.12", True),  # as pip
    ],
)
def test_python_is_held_against_the_wheel(requires: str, python: str, *, fits: bool) -> None:
    given = report((stack("vllm==0.33.0", python=requires), GOOD_GEMM))
    choice = choose(given, target="sm100", needs=("gemm",), machines=BOTH, host=Host(python=python))
    assert (choice.newest is not None) == fits
    if not fits:
        assert choice.rejected[0].reason == f"needs Python {requires.strip()}, you have {python}"


def test_trouble_of_the_release_is_told_before_that_of_the_host() -> None:
    given = report((stack("vllm==0.33.0", python=">=3.13"), BAD_GEMM))
    host = Host(driver="570", python="3.12", drivers=drivers())
    told = reason(given, host=host)
    assert told.index("gemm") < told.index("driver 570") < told.index("Python >=3.13")


versions = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 12)).map(lambda v: f"{v[0]}.{v[1]}"),
    unique=True,
    max_size=8,
)


@given(versions=versions, data=st.data())
def test_every_stack_is_chosen_between_the_ends_or_told_about(
    versions: list[str], data: st.DataObject
) -> None:
    words = st.sampled_from(get_args(Verdict))
    verdicts: dict[str, Verdict] = {f"vllm=={v}": data.draw(words) for v in versions}
    given = report(
        *(
            (stack(name), {(m, "gemm"): (verdict, "") for m in BOTH})
            for name, verdict in verdicts.items()
        )
    )
    choice = choose(given, target="sm100", needs=("gemm",), machines=BOTH)
    good = [Version(name.partition("==")[2]) for name, seen in verdicts.items() if seen in GOOD]
    ends = [name and Version(name.partition("==")[2]) for name in (choice.newest, choice.oldest)]
    assert ends == [max(good, default=None), min(good, default=None)]
    assert {each.stack for each in choice.rejected} == {
        name for name, seen in verdicts.items() if seen not in GOOD
    }


def test_order_keeps_packages_together_and_other_pins_after_the_plain_stack() -> None:
    other = StackSummary(
        name="vllm-0.25.1-cudnn", package="vllm", version="0.25.1", machines=BOTH, pins={}
    )
    given = [other, stack("sglang==0.9"), stack("vllm==0.9.2"), stack("vllm==0.25.1")]
    assert [each.name for each in ordered(given)] == [
        "vllm==0.25.1",
        "vllm-0.25.1-cudnn",
        "vllm==0.9.2",
        "sglang==0.9",
    ]


def test_of_the_two_it_is_told_which_was_not_asked() -> None:
    given = report(
        (stack("vllm==0.33.0"), GOOD_GEMM),
        (stack("vllm==0.20.0"), GOOD_GEMM),
        asked=("vllm==0.33.0",),
    )
    choice = choose(given, target="sm100", needs=("gemm",), machines=BOTH)
    assert choice.not_asked == ("vllm==0.20.0",)


def test_what_ran_and_what_nobody_can_ask_for_needs_no_asking() -> None:
    ran: Seen = {(m, "gemm"): ("works", "") for m in BOTH}
    quantize: Seen = {(m, "quantize"): ("likely", "") for m in BOTH}
    for seen, need in ((ran, "gemm"), (quantize, "quantize")):
        given = report((stack("vllm==0.33.0"), seen))
        choice = choose(given, target="sm100", needs=(need,), machines=BOTH)
        assert (choice.newest, choice.not_asked) == ("vllm==0.33.0", ())
