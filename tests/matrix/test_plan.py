from __future__ import annotations

from collections import Counter
from itertools import product
from random import Random
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cell import Cell, Report, StackSummary, TargetSummary
from matrix.imports import NOT_LOADABLE
from matrix.plan import INCOMPLETE, Job, Plan, labels, plan
from matrix.vocabulary import ENVIRONMENTS, MACHINES, Environment, Machine, Reason, Verdict

STACKS = ("vllm==0.33.0", "vllm==0.9.2", "spark-nightly")
TARGETS = ("sm90", "sm100", "sm121")
CAPABILITIES = ("gemm", "kv-cache", "moe")
REASONS: tuple[Reason, ...] = ("", "no_kernel_image", "torch_without_cuda", "not_declared")


def cell(
    verdict: Verdict = "likely",
    reason: Reason = "",
    *,
    stack: str = STACKS[0],
    target: str = "sm100",
    machine: Machine = "x86_64",
    environment: Environment = "slim",
    capability: str = "gemm",
    executed: str = "missing",
) -> Cell:
    return Cell(
        stack=stack,
        target=target,
        machine=machine,
        environment=environment,
        capability=capability,
        declared="yes",
        compiled="yes",
        selected="not_asked",
        executed=executed,
        verdict=verdict,
        reason=reason,
    )


def report(*cells: Cell) -> Report:
    return Report(
        generated="",
        targets=tuple(
            TargetSummary(name=t, compute_capability="10.0", machines=MACHINES, products=())
            for t in TARGETS
        ),
        stacks=tuple(
            StackSummary(name=s, package="vllm", version="1", machines=MACHINES, pins={})
            for s in STACKS
        ),
        cells=cells,
        contradictions=(),
    )


PLACES = tuple(product(STACKS, TARGETS, MACHINES, ENVIRONMENTS, CAPABILITIES))


@st.composite
def matrices(draw: st.DrawFn) -> list[Cell]:
    """Some cells of the matrix, each once, in any order, with any verdict and reason."""
    places = draw(st.lists(st.sampled_from(PLACES), unique=True, max_size=40))
    verdicts = st.sampled_from(get_args(Verdict))
    reasons = st.sampled_from(REASONS)
    return [
        cell(
            draw(verdicts), draw(reasons), stack=stack, target=target, machine=machine,
            environment=environment, capability=capability,
            executed=draw(st.sampled_from(("missing", "fail"))),
        )
        for stack, target, machine, environment, capability in places
    ]  # fmt: skip


Place = tuple[str, str, str, str, str]


def place(one: Cell) -> Place:
    return one.stack, one.target, one.machine, one.environment, one.capability


def planned(made: Plan) -> list[Place]:
    return [
        (job.stack, job.target, job.machine, environment, name)
        for job in made.jobs
        for environment, names in job.cells.items()
        for name in names
    ]


def pruned(made: Plan) -> list[Place]:
    return [(p.stack, p.target, p.machine, p.environment, p.capability) for p in made.pruned]


@given(matrices(), st.sets(st.sampled_from(TARGETS)))
def test_every_cell_is_in_exactly_one_job_or_pruned_and_nothing_else_is(
    cells: list[Cell], controls: set[str]
) -> None:
    made = plan(report(*cells), controls=controls)
    assert Counter(planned(made) + pruned(made)) == Counter(place(each) for each in cells)


@given(matrices())
def test_a_stack_on_a_target_and_machine_is_one_job(cells: list[Cell]) -> None:
    made = plan(report(*cells))
    ids = [(job.stack, job.target, job.machine) for job in made.jobs]
    assert len(ids) == len(set(ids))
    assert all(names for job in made.jobs for names in job.cells.values())


@given(matrices(), st.randoms(use_true_random=False))
def test_the_order_of_cells_does_not_matter(cells: list[Cell], random: Random) -> None:
    shuffled = list(cells)
    random.shuffle(shuffled)
    assert plan(report(*shuffled)) == plan(report(*cells))


@given(matrices())
def test_what_is_pruned_is_known_to_be_incomplete_and_says_why(cells: list[Cell]) -> None:
    known = {place(each): each for each in cells}
    made = plan(report(*cells))
    for one, where in zip(made.pruned, pruned(made), strict=True):
        assert (one.verdict, one.reason) == (known[where].verdict, known[where].reason)
        assert one.verdict in INCOMPLETE


@pytest.mark.parametrize("verdict", [v for v in get_args(Verdict) if v not in INCOMPLETE])
def test_every_other_verdict_is_worth_running(verdict: Verdict) -> None:
    made = plan(report(cell(verdict)))
    assert [job.cells for job in made.jobs] == [{"slim": ("gemm",)}]
    assert made.pruned == ()


@pytest.mark.parametrize("verdict", INCOMPLETE)
def test_a_job_whose_every_cell_is_pruned_is_no_job(verdict: Verdict) -> None:
    made = plan(report(cell(verdict, "no_kernel_image")))
    assert made.jobs == ()
    assert [one.reason for one in made.pruned] == ["no_kernel_image"]


def test_what_a_probe_found_broken_is_run_again() -> None:
    made = plan(report(cell("broken", "wrong_numbers", executed="fail")))
    assert len(made.jobs) == 1


def test_a_cell_is_pruned_in_its_own_environment_alone() -> None:
    made = plan(
        report(
            cell("broken", "no_compiler", capability="kv-cache"),
            cell("likely", capability="kv-cache", environment="devel"),
            cell("likely", capability="gemm", environment="devel"),
        )
    )
    assert made.jobs == (
        Job(
            stack=STACKS[0],
            target="sm100",
            machine="x86_64",
            cells={"devel": ("gemm", "kv-cache")},
        ),
    )
    assert [(one.environment, one.capability) for one in made.pruned] == [("slim", "kv-cache")]


def test_jobs_stand_in_the_order_of_stacks_targets_and_machines() -> None:
    cells = [
        cell(stack=stack, target=target, machine=machine)
        for stack, target, machine in product(STACKS, TARGETS, MACHINES)
    ]
    made = plan(report(*reversed(cells)))
    assert [(job.stack, job.target, job.machine) for job in made.jobs] == [
        (each.stack, each.target, each.machine) for each in cells
    ]


def test_stacks_and_targets_that_the_header_lacks_come_last() -> None:
    cells = [cell(stack="new"), cell(target="sm190"), cell()]
    jobs = plan(report(*cells)).jobs
    assert [(job.stack, job.target) for job in jobs] == [
        (STACKS[0], "sm100"),
        (STACKS[0], "sm190"),
        ("new", "sm100"),
    ]


@pytest.mark.parametrize("reason", ["not_declared", "no_path", "no_kernel_image", "arch_guard"])
def test_on_a_control_a_missing_native_path_prunes_nothing(reason: Reason) -> None:
    given_ = report(cell("unavailable", reason, target="sm90"))
    assert len(plan(given_, controls={"sm90"}).jobs) == 1
    assert plan(given_).jobs == ()


@pytest.mark.parametrize("reason", NOT_LOADABLE)
def test_on_a_control_a_stack_that_cannot_be_loaded_is_pruned(reason: Reason) -> None:
    made = plan(report(cell("broken", reason, target="sm90")), controls={"sm90"})
    assert made.jobs == ()


@pytest.mark.parametrize(("machine", "label"), [("x86_64", "x64"), ("aarch64", "arm64")])
def test_a_runner_is_asked_for_by_machine_and_target(machine: Machine, label: str) -> None:
    (job,) = plan(report(cell(machine=machine, target="sm121"))).jobs
    assert labels(job) == ("self-hosted", "linux", label, "gpu", "sm121")


def test_a_plan_comes_back_from_json_as_it_went() -> None:
    made = plan(report(cell(), cell("broken", "trap_kernel", capability="moe")))
    assert msgspec.json.decode(msgspec.json.encode(made), type=Plan) == made


def test_no_cells_are_an_empty_plan() -> None:
    assert plan(report()) == Plan(jobs=(), pruned=())
