from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from matrix.errors import BrokenWheelError
from matrix.evidence.dslcompiler import read_dsl
from matrix.evidence.wheel import Wheel

MakeWheel = Callable[..., Path]

ROOT = "nvidia_cutlass_dsl/python_packages/cutlass"
ARCH = f"{ROOT}/base_dsl/arch.py"
ENUMS = f"{ROOT}/base_dsl/enums.py"
WARP = f"{ROOT}/cute/nvgpu/warp/mma.py"
TCGEN05 = f"{ROOT}/cute/nvgpu/tcgen05/mma.py"

ARCH_43 = b"""\
from enum import Enum
import os

class Arch(Enum):
    sm_90 = (9, 0, "")
    sm_90a = (9, 0, "a")
    sm_100a = (10, 0, "a")
    sm_100f = (10, 0, "f")
    sm_120 = (12, 0, "")
    sm_120a = (12, 0, "a")
    sm_121a = (12, 1, "a")
    unknown = (0, 0, "")
    sm_x = sm_90

    @classmethod
    def sm_999(cls): ...

class Other(Enum):
    sm_75 = (7, 5, "")
"""
WARP_43 = b"""\
class MmaSM120BlockScaledOp(WarpMmaOp):
    admissible_archs = ["sm_120a"]

class MmaF16BF16Op(WarpMmaOp):
    admissible_archs = ["sm_80"]
"""
TCGEN05_43 = b"""\
from cutlass.base_dsl.arch import Arch

class BlockScaledMmaOp(Tcgen05MmaOp):
    admissible_archs = [Arch.sm_100a, Arch.sm_103a, "sm_100", print("run")]
"""
ENUMS_46 = b"""\
class Arch(Enum):
    sm_100a = (10, 0, "a")
    if CUDA_VERSION.major >= 13:
        sm_110a = (11, 0, "a")
        sm_101a = sm_110a
    else:
        sm_101a = (10, 1, "a")
    sm_121f = (12, 1, "f")
"""
WARP_46 = b"""\
class MmaSM120BlockScaledOp(WarpMmaOp):
    admissible_archs = (Arch.sm_120a, Arch.sm_120f, Arch.sm_121a, Arch.sm_121f)
"""


def facts(
    make_wheel: MakeWheel,
    members: dict[str, bytes],
    *,
    package: str = "nvidia-cutlass-dsl",
    requires: tuple[str, ...] = (),
) -> dict[str, str]:
    with Wheel.open_file(make_wheel(package, "4.3.0", members, requires=requires)) as wheel:
        return read_dsl(wheel)


def test_up_to_4_2_no_class_names_the_architectures(make_wheel: MakeWheel) -> None:
    """The instructions' own lists are there already."""
    old = b"def get_arch():\n    return 'sm_100a'\n"
    assert facts(make_wheel, {ARCH: old, WARP: WARP_43}) == {"block_scaled_targets": "sm_120a"}
    assert facts(make_wheel, {f"{ROOT}/base_dsl/dsl.py": old}) == {}


def test_4_3_names_them_in_its_own_wheel(make_wheel: MakeWheel) -> None:
    found = facts(
        make_wheel,
        {ARCH: ARCH_43, WARP: WARP_43, TCGEN05: TCGEN05_43},
        requires=("cuda-python>=12.8",),
    )
    assert found == {
        "targets": "sm_90 sm_90a sm_100a sm_100f sm_120 sm_120a sm_121a",
        "block_scaled_targets": "sm_100 sm_100a sm_103a sm_120a",
    }


def test_from_4_4_on_the_wheel_names_the_one_with_the_compiler(make_wheel: MakeWheel) -> None:
    found = facts(
        make_wheel,
        {"nvidia_cutlass_dsl.pth": b"x"},
        requires=(
            "nvidia-cutlass-dsl-libs-base==4.6.2",
            "nvidia-cutlass-dsl-libs-cu12==4.6.2",
            'nvidia-cutlass-dsl-libs-cu13==4.6.2; extra == "cu13"',
            "numpy",
            "(not a requirement",
        ),
    )
    assert found == {
        "compiler_in": "nvidia-cutlass-dsl-libs-base==4.6.2 nvidia-cutlass-dsl-libs-cu12==4.6.2"
    }


def test_the_wheel_with_the_compiler_tells_of_itself_whatever_it_requires(
    make_wheel: MakeWheel,
) -> None:
    found = facts(
        make_wheel,
        {ARCH: ARCH_43},
        package="nvidia-cutlass-dsl-libs-base",
        requires=("nvidia-cutlass-dsl-libs-core==4.6.0",),
    )
    assert set(found) == {"targets"}


def test_from_4_6_on_names_hang_on_the_toolkit_and_all_count(make_wheel: MakeWheel) -> None:
    found = facts(
        make_wheel, {ENUMS: ENUMS_46, WARP: WARP_46}, package="nvidia-cutlass-dsl-libs-core"
    )
    assert found == {
        "targets": "sm_100a sm_101a sm_110a sm_121f",
        "block_scaled_targets": "sm_120a sm_120f sm_121a sm_121f",
    }


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"class Arch(Enum",
        b"\0",
        b"\xff\xfe",
        b"Arch = 3\n",
        b"def f():\n    class Arch:\n        sm_90 = 1\n",
        b"class Arch:\n    sm_90: int = 1\n    sm_9 = sm_0100 = sm_100b = SM_100 = 1\n",
        b"class Arch:\n    (sm_90, sm_100) = 1, 2\n",
        b"class Arch:\n    x = " + b"(" * 500 + b")" * 500,
        b"class Arch:\n    x = " + b"-" * 100_000 + b"1\n",
        b"class Arch:\n    raise SystemExit\n",
    ],
)
def test_a_module_that_names_none_says_nothing(make_wheel: MakeWheel, source: bytes) -> None:
    assert facts(make_wheel, {ARCH: source}) == {}


@pytest.mark.parametrize(
    "value",
    [b"arch_list()", b"[*ARCHS]", b"'sm_120a'", b"[x for x in y]", b"[f'sm_{n}']", b"[120, None]"],
)
def test_a_list_that_is_computed_admits_none(make_wheel: MakeWheel, value: bytes) -> None:
    source = WARP_43.replace(b'["sm_120a"]', value, 1)
    assert facts(make_wheel, {WARP: source}) == {}


def test_modules_of_the_same_name_elsewhere_do_not_count(make_wheel: MakeWheel) -> None:
    assert facts(make_wheel, {"other/arch.py": ARCH_43, "cute/nvgpu/warp/mma.py": WARP_43}) == {}


def test_a_module_larger_than_any_is_refused(make_wheel: MakeWheel) -> None:
    with pytest.raises(BrokenWheelError, match=r"arch\.py has 5000000 bytes"):
        facts(make_wheel, {ARCH: b"#" * 5_000_000})
