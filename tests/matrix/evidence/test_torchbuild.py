from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.errors import BrokenWheelError
from matrix.evidence import archive
from matrix.evidence.torchbuild import _assigned, read_torch
from matrix.evidence.wheel import Wheel

MakeWheel = Callable[..., Path]

FLAGS_IN = "torch/lib/libtorch_python.so"
FLAGS = b"\0sm_75 sm_80 sm_90 sm_100 sm_120 compute_120\0"
STATED = FLAGS.strip(b"\0").decode()
CPU = b"""\
from typing import Optional

__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip']
__version__ = '2.10.0+cpu'
debug = False
cuda: Optional[str] = None
git_version = '0123abc'
hip: Optional[str] = None
"""
CUDA = CPU.replace(b"+cpu", b"").replace(b"cuda: Optional[str] = None", b"cuda: str = '13.0'")


def facts(make_wheel: MakeWheel, members: dict[str, bytes]) -> dict[str, str]:
    with Wheel.open_file(make_wheel("torch", "2.11.0", members)) as wheel:
        return read_torch(wheel)


def test_a_build_without_cuda_has_an_empty_cuda_and_no_architectures(make_wheel: MakeWheel) -> None:
    found = facts(make_wheel, {"torch/version.py": CPU, FLAGS_IN: FLAGS})
    assert found == {"cuda": "", "git": "0123abc"}


def test_a_build_for_cuda_tells_what_it_was_compiled_for(make_wheel: MakeWheel) -> None:
    found = facts(make_wheel, {"torch/version.py": CUDA, FLAGS_IN: b"x" * 99 + FLAGS + b"y"})
    assert found == {
        "cuda": "13.0",
        "git": "0123abc",
        "arch_list": STATED,
        "arch_list_from": FLAGS_IN,
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"sm_90 sm_100",  # no string of its own
        b"\0sm_90 or newer\0",
        b"\0built for sm_90\0",
        b"\0sm_90\nsm_100\0",
        b"\0sm_9\0",
        b"\0sm_90  sm_100\0",
    ],
)
def test_architectures_that_are_not_stated_are_left_out(
    make_wheel: MakeWheel, content: bytes
) -> None:
    found = facts(make_wheel, {"torch/version.py": CUDA, FLAGS_IN: content})
    assert found == {"cuda": "13.0", "git": "0123abc"}


def test_a_build_for_cuda_without_that_library_is_still_one_for_cuda(make_wheel: MakeWheel) -> None:
    assert facts(make_wheel, {"torch/version.py": CUDA})["cuda"] == "13.0"


def test_a_wheel_without_a_version_module_says_nothing(make_wheel: MakeWheel) -> None:
    assert facts(make_wheel, {"torch/__init__.py": b"", FLAGS_IN: FLAGS}) == {}


@pytest.mark.parametrize("before", [-1, 0, 1, len(FLAGS) // 2, len(FLAGS) - 1, len(FLAGS)])
def test_a_list_across_the_border_of_two_chunks_is_whole(
    make_wheel: MakeWheel, before: int
) -> None:
    padding = bytes(3_000_000)
    with Wheel.open_file(make_wheel("torch", "1.0", {FLAGS_IN: padding})) as wheel:
        border = len(next(wheel.peek(FLAGS_IN)))
    assert border < len(padding)
    content = b"x" * (border - before) + FLAGS + b"x" * 3_000_000
    found = facts(make_wheel, {"torch/version.py": CUDA, FLAGS_IN: content})
    assert found["arch_list"] == STATED


def test_a_list_in_many_small_chunks_is_whole(
    make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_STEP", 5)
    members = {"torch/version.py": CUDA, FLAGS_IN: b"x" * 4000 + FLAGS + b"x" * 4000}
    assert facts(make_wheel, members)["arch_list"] == STATED


def test_no_more_is_read_than_up_to_the_list(make_wheel: MakeWheel) -> None:
    """What follows it in the library is never looked at, so its damage is not seen either."""
    content = FLAGS + bytes(5_000_000)
    other = {FLAGS_IN: b"another"}
    path = make_wheel(
        "torch", "2.11.0", {FLAGS_IN: content, "torch/version.py": CUDA}, recorded=other
    )
    with Wheel.open_file(path) as wheel:
        assert read_torch(wheel)["arch_list"] == STATED
        with pytest.raises(BrokenWheelError):
            wheel.read(FLAGS_IN)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (b"cuda = '13.0'", {"cuda": "13.0"}),
        (b"cuda = None", {"cuda": ""}),
        (b"cuda: str = '13.0'\n", {"cuda": "13.0"}),
        (b"cuda = hip = '13.0'\n", {"cuda": "13.0", "hip": "13.0"}),
        (b"cuda = '12.8'\ncuda = '13.0'\n", {"cuda": "13.0"}),
        (b"cuda: str\n", {}),
        (b"cuda = 13.0\n", {}),
        (b"cuda = True\n", {}),
        (b"cuda = f'{1}3.0'\n", {}),
        (b"cuda = __import__('os').getcwd()\n", {}),
        (b"if True:\n    cuda = '13.0'\n", {}),
        (b"cuda, git = '13.0', 'a'\n", {}),
        (b"x.cuda = '13.0'\n", {}),
        (b"cuda = '13.0'\n)", {}),
        (b"\0cuda = '13.0'\n", {}),
        (b"\xff\xfecuda = '13.0'\n", {}),
        (b"# coding: no-such\ncuda = '13.0'\n", {}),
        (b"cuda = " + b"(" * 500 + b"'13.0'" + b")" * 500, {}),
        (b"cuda = " + b"-" * 100_000 + b"1", {}),
        (b"x = 1" + b"0" * 5000 + b"\ncuda = '13.0'\n", {}),
        (b"raise SystemExit\ncuda = '13.0'\n", {"cuda": "13.0"}),
    ],
)
def test_a_version_module_is_read_and_never_run(source: bytes, found: dict[str, str]) -> None:
    assert _assigned(source) == found


def test_a_hostile_version_module_says_nothing(make_wheel: MakeWheel) -> None:
    assert facts(make_wheel, {"torch/version.py": b"cuda = (", FLAGS_IN: FLAGS}) == {}


@given(st.binary(max_size=80))
def test_no_source_raises(source: bytes) -> None:
    assert isinstance(_assigned(b"cuda = '" + source), dict)
