from __future__ import annotations

import textwrap
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cell import StackSummary
from matrix.pins import Choice, Rejected
from matrix.vocabulary import Machine
from reports.pinlist import render

BOTH: tuple[Machine, ...] = ("x86_64", "aarch64")
NO_WHEEL = "vllm {} has no wheel for aarch64, only for x86_64"
BROKEN = "gemm on aarch64: broken (torch_without_cuda)"


def stack(
    name: str, *, version: str = "", pins: dict[str, dict[str, str]] | None = None, cuda: str = ""
) -> StackSummary:
    package, _, last = name.partition("==")
    return StackSummary(
        name=name,
        package=package.partition("[")[0].partition("-")[0],
        version=version or last,
        machines=BOTH,
        pins=pins or {},
        cuda=dict.fromkeys(BOTH, cuda) if cuda else {},
        requires_python=">=3.11,<3.15",
    )


def choice(newest: str | None, oldest: str | None, **why: str) -> Choice:
    return Choice(
        newest=newest,
        oldest=oldest,
        rejected=tuple(Rejected(stack=name, reason=reason) for name, reason in why.items()),
    )


def text(given: Choice, *stacks: StackSummary, width: int = 80) -> str:
    return render(given, stacks, asked="gemm on sm121 (aarch64)", machines=BOTH, width=width)


def labels(told: str) -> Iterator[str]:
    """What stands left of the reasons, where they stand beside."""
    for line in told.splitlines():
        if line.startswith("  ") and line[2] != " ":
            yield line.strip().partition("  ")[0]


PINS = {
    "vllm": "0.33.0",
    "torch": "2.14.0",
    "flashinfer-python": "0.7.2.post1",
    "nvidia-cutlass-dsl": "4.8.0",
    "nvidia-cudnn-cu13": "9.24.0.43",
    "nvidia-cublas": "13.10.0.20",
}
OLD = {"vllm": "0.20.0"}
STACKS = (
    stack("vllm==0.33.0", pins=dict.fromkeys(BOTH, PINS), cuda="13.0"),
    stack("vllm==0.20.0", pins={"x86_64": OLD, "aarch64": OLD}, cuda="12.9"),
    stack("vllm==0.19.1"),
    stack("vllm==0.19.0"),
    stack("vllm==0.9.0"),
    stack("vllm[flashinfer]==0.11.0"),
    stack("vllm[flashinfer]==0.10.2"),
)
CHOICE = choice(
    "vllm==0.33.0",
    "vllm==0.20.0",
    **{
        "vllm==0.19.1": BROKEN,
        "vllm==0.19.0": BROKEN,
        "vllm==0.9.0": NO_WHEEL.format("0.9.0"),
        "vllm[flashinfer]==0.11.0": BROKEN,
        "vllm[flashinfer]==0.10.2": BROKEN,
    },
)


def test_at_80_columns_a_package_and_its_version_stay_on_one_line() -> None:
    assert text(CHOICE, *STACKS) == textwrap.dedent(
        """\
        These do gemm on sm121 (aarch64):

        newest  vllm==0.33.0
                vllm 0.33.0, torch 2.14.0, flashinfer-python 0.7.2.post1,
                nvidia-cutlass-dsl 4.8.0, nvidia-cudnn-cu13 9.24.0.43,
                nvidia-cublas 13.10.0.20, CUDA 13.0
                Python >=3.11,<3.15

        oldest  vllm==0.20.0
                vllm 0.20.0, CUDA 12.9
                Python >=3.11,<3.15

        These do not (5):
          vllm 0.19.0 to 0.19.1  gemm on aarch64: broken (torch_without_cuda)
          vllm 0.9.0             vllm 0.9.0 has no wheel for aarch64, only for x86_64
          vllm[flashinfer] 0.10.2 to 0.11.0
              gemm on aarch64: broken (torch_without_cuda)
        """
    )


def test_at_160_columns_every_reason_stands_beside_its_label() -> None:
    told = text(CHOICE, *STACKS, width=160)
    assert told.endswith(
        "These do not (5):\n"
        "  vllm 0.19.0 to 0.19.1              gemm on aarch64: broken (torch_without_cuda)\n"
        "  vllm 0.9.0                         vllm 0.9.0 has no wheel for aarch64, only for x86_64\n"
        "  vllm[flashinfer] 0.10.2 to 0.11.0  gemm on aarch64: broken (torch_without_cuda)\n"
    )


@given(width=st.integers(0, 200))
def test_no_line_is_wider_than_the_terminal_and_all_of_them_can_be_printed(width: int) -> None:
    lines = text(CHOICE, *STACKS, width=width).splitlines()
    assert max(map(len, lines)) <= max(width, 40)
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert not any(line != line.rstrip() for line in lines)


def test_without_a_stack_that_qualifies_the_reasons_are_all_there_is() -> None:
    told = text(choice(None, None, **{"vllm==0.9.0": BROKEN}), stack("vllm==0.9.0"))
    assert told == (
        "No stack does gemm on sm121 (aarch64).\n\nWhy (1):\n"
        "  vllm 0.9.0  gemm on aarch64: broken (torch_without_cuda)\n"
    )


def test_a_release_that_qualifies_parts_a_range() -> None:
    stacks = [stack(f"vllm==0.{minor}") for minor in (14, 13, 12, 11)]
    why = {f"vllm==0.{minor}": BROKEN for minor in (14, 12, 11)}
    told = text(choice("vllm==0.13", "vllm==0.13", **why), *stacks)
    assert list(labels(told)) == ["vllm 0.14", "vllm 0.11 to 0.12"]


def test_releases_that_lack_a_wheel_make_one_range_whatever_their_versions() -> None:
    versions = ("0.9.1", "0.9.0", "0.8.5")
    why = {f"vllm=={version}": NO_WHEEL.format(version) for version in versions}
    told = text(choice(None, None, **why), *(stack(f"vllm=={version}") for version in versions))
    assert "vllm 0.8.5 to 0.9.1  vllm has no wheel for aarch64, only for x86_64" in told


def test_stacks_by_hand_are_each_told_by_name() -> None:
    stacks = [stack("vllm-cudnn", version="0.25.1"), stack("vllm-torch", version="0.25.1")]
    told = text(choice(None, None, **{"vllm-cudnn": BROKEN, "vllm-torch": BROKEN}), *stacks)
    assert list(labels(told)) == ["vllm-cudnn", "vllm-torch"]


def test_machines_with_other_pins_are_told_apart() -> None:
    pins = {"x86_64": {"torch": "2.10.0"}, "aarch64": {"torch": ""}}
    one = stack("vllm==0.33.0", pins=pins, cuda="")
    told = text(choice("vllm==0.33.0", "vllm==0.33.0"), one)
    assert "        x86_64: torch 2.10.0\n        aarch64: torch (none)\n" in told


@pytest.mark.parametrize(("cuda", "told"), [("12.9", "CUDA 12.9"), ("", "no CUDA")])
def test_a_torch_without_cuda_is_said_so(cuda: str, told: str) -> None:
    one = StackSummary(
        name="vllm==1.0",
        package="vllm",
        version="1.0",
        machines=("x86_64",),
        pins={"x86_64": {"vllm": "1.0"}},
        cuda={"x86_64": cuda},
    )
    shown = render(
        choice("vllm==1.0", "vllm==1.0"), [one], asked="gemm", machines=("x86_64",), width=80
    )
    assert f"vllm 1.0, {told}\n" in shown


def test_names_and_reasons_cannot_speak_to_the_terminal() -> None:
    name = "vllm\x1b[2J\n\u202e==1.0"
    pins = {name: "\x1b]0;x\x07"}
    one = stack(name, pins=dict.fromkeys(BOTH, pins), cuda="\x07")
    for chosen in (choice(name, name), choice(None, None, **{name: "a\x1b[31m\nb\u200b"})):
        told = text(chosen, one)
        assert all(line.isprintable() and line.isascii() for line in told.splitlines())


def test_a_stack_that_was_not_asked_says_so() -> None:
    given = msgspec.structs.replace(
        choice("vllm==0.33.0", "vllm==0.20.0"), not_asked=("vllm==0.20.0",)
    )
    newest, _, oldest = text(given, stack("vllm==0.33.0"), stack("vllm==0.20.0")).partition(
        "oldest"
    )
    assert "not asked" not in newest
    assert "        not asked which kernels it would choose\n" in oldest
