"""What `read_gates` reads in a wheel's Python: tiny wheels made of a dictionary of members."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from matrix.evidence.source import CAPABILITIES, read_gates
from matrix.gate import Extern, Gate, GateAnswer, Predicate, PythonGate

SDIST = "0" * 64
PLATFORM = "from vllm.platforms import current_platform\n"
FLASHINFER = """
import functools, importlib.util, os, shutil

@functools.cache
def has_flashinfer() -> bool:
    if importlib.util.find_spec("flashinfer") is None:
        return False
    if importlib.util.find_spec("flashinfer_cubin") is None and shutil.which("nvcc") is None:
        return False
    return True
"""


def ask(
    members: Mapping[str, str | bytes],
    python: PythonGate | None = None,
    *,
    externs: tuple[Extern, ...] = (),
    predicate: Predicate | None = None,
    compiled: Callable[[str, int], bool | None] = lambda _piece, _capability: None,
    package: str = "vllm",
    version: str = "0.33.0",
) -> GateAnswer:
    def read(member: str) -> bytes | None:
        body = members.get(member)
        return body.encode() if isinstance(body, str) else body

    gate = Gate(gate="vllm.asked", package=package, python=python, predicate=predicate)
    (answer,) = read_gates(
        package=package,
        version=version,
        read=read,
        names=list(members),
        gates=[gate],
        externs=externs,
        compiled=compiled,
    )
    return answer


def said(answer: GateAnswer, word: str) -> list[int]:
    assert answer.slim == answer.devel
    return [int(c) for c, w in answer.slim.items() if w == word]


def body(*lines: str, head: str = PLATFORM) -> dict[str, str]:
    return {"vllm/a.py": head + "def f(compute_capability=None):\n    " + "\n    ".join(lines)}


F = PythonGate(file="vllm/a.py", function="f")


@pytest.mark.parametrize(
    ("expression", "yes"),
    [
        ("current_platform.has_device_capability(100)", [100, 103, 107, 110, 120, 121]),
        ("current_platform.has_device_capability((12, 0))", [120, 121]),
        ("current_platform.is_device_capability(100)", [100]),
        ("current_platform.is_device_capability_family(120)", [120, 121]),
        ("current_platform.get_device_capability().to_int() == 103", [103]),
        ("(9, 0) <= current_platform.get_device_capability() < (11, 0)", [90, 100, 103, 107]),
        ("current_platform.get_device_capability().major == 12", [120, 121]),
        ("current_platform.get_device_capability()[0] in (8, 11)", [80, 86, 89, 110]),
        ("compute_capability not in (100, 103) and compute_capability > 90", [107, 110, 120, 121]),
        (
            "any(current_platform.is_device_capability_family(f) for f in (80, 90))",
            [80, 86, 89, 90],
        ),
        ("current_platform.is_rocm() or current_platform.is_xpu()", []),
        ("current_platform.is_cuda() and not current_platform.is_cpu()", list(CAPABILITIES)),
    ],
)
def test_a_question_about_the_platform_is_answered_per_capability(
    expression: str, yes: list[int]
) -> None:
    answer = ask(body(f"return {expression}"), F)
    assert said(answer, "yes") == yes
    assert said(answer, "no") == [c for c in CAPABILITIES if c not in yes]
    assert answer.where == "vllm/a.py:2"


def test_a_no_carries_the_packages_own_reason() -> None:
    answer = ask(
        body(
            "if current_platform.is_device_capability_family(100):",
            "    return True, None",
            'return False, "needs sm_10x"',
        ),
        F,
    )
    assert said(answer, "yes") == [100, 103, 107]
    assert answer.why == "sm75, sm80, sm86, sm89, sm90, sm110, sm120, sm121: needs sm_10x"


def test_a_raise_is_a_no_in_the_packages_words() -> None:
    answer = ask(
        body(
            "assert current_platform.has_device_capability(90), f'needs {9}.0'",
            "if current_platform.is_device_capability(120):",
            "    raise ValueError('not there')",
            "return True",
        ),
        F,
    )
    assert said(answer, "no") == [75, 80, 86, 89, 120]
    assert answer.why == "sm75, sm80, sm86, sm89: needs 9.0; sm120: not there"


def test_flashinfer_is_there_only_with_a_compiler_or_the_cubins() -> None:
    members = {
        "vllm/utils/flashinfer.py": FLASHINFER,
        "vllm/a.py": "from vllm.utils.flashinfer import has_flashinfer as there\n"
        "def f():\n    return there()",
    }
    answer = ask(members, F)
    assert set(answer.slim.values()) == {"no"}
    assert set(answer.devel.values()) == {"yes"}

    metadata = {"vllm-1.dist-info/METADATA": "Name: vllm\nRequires-Dist: flashinfer-cubin==1\n\n"}
    assert set(ask(members | metadata, F).slim.values()) == {"yes"}

    extra = {
        "vllm-1.dist-info/METADATA": 'Name: v\nRequires-Dist: flashinfer-cubin==1; extra == "f"\n\n'
    }
    assert set(ask(members | extra, F).slim.values()) == {"no"}


def test_what_the_pinned_flashinfer_offers_is_taken_as_there() -> None:
    answer = ask(
        body(
            "try:",
            "    module = importlib.import_module('flashinfer.fused_moe')",
            "except (ImportError, ModuleNotFoundError):",
            "    return False",
            "return module is not None and callable(getattr(module, 'cutlass_fused_moe', None))",
            head="import importlib\n",
        ),
        F,
    )
    assert said(answer, "yes") == list(CAPABILITIES)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["return find_spec('humming') is not None"], "whether humming is installed"),
        (["try:", "    import strange", "except ImportError:", "    return False", "return True"],
         "whether what is tried fails"),
        (["return strange.works()"], "what strange.works() answers"),
        (["while strange:", "    return True"], "a loop over what cannot be decided"),
        (["yield 1"], "f is no plain function"),
        (["return f()"], "the calls under f go too deep"),
        (["match 1:", "    case _: return True"], "cannot follow `match`"),
        (["return missing_from_here.x"], "missing_from_here.x"),
    ],
)  # fmt: skip
def test_what_cannot_be_decided_is_unknown_and_says_why(lines: list[str], why: str) -> None:
    head = "import strange\nfrom importlib.util import find_spec\n"
    answer = ask(body(*lines, head=head), F)
    assert said(answer, "unknown") == list(CAPABILITIES)
    assert why in answer.why


def test_an_unknown_part_does_not_hide_what_the_rest_decides() -> None:
    answer = ask(
        body("return strange.works() and current_platform.has_device_capability(100)",
             head=PLATFORM + "import strange\n"),
        F,
    )  # fmt: skip
    assert said(answer, "no") == [75, 80, 86, 89, 90]
    assert said(answer, "unknown") == [100, 103, 107, 110, 120, 121]


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({}, "vllm/a.py is not in this release"),
        ({"vllm/a.py": "def g(): pass"}, "f is not in vllm/a.py of this release"),
        ({"vllm/a.py": "def f(:"}, "no Python that can be parsed"),
        ({"vllm/a.py": b"\x00\xff"}, "no Python that can be parsed"),
        ({"vllm/a.py": "f = " + "(" * 5000 + ")" * 5000}, "no Python that can be parsed"),
        ({"vllm/a.py": "def f(): return " + "-" * 3000 + "1"}, ""),
        ({"vllm/a.py": "def f(): return " + "+".join(["1"] * 900)}, ""),
        ({"vllm/a.py": "def f(): return 'a' * 10 ** 12"}, "cannot decide"),
        ({"vllm/a.py": "def f(): return f'{0x" + "f" * 9000 + "}' == g"}, "cannot"),
        ({"vllm/a.py": "def f():\n x = y = 1\n" + " x = (x, x)\n y = (y, y)\n" * 60
          + " return x == y"}, "cannot decide"),
        ({"vllm/a.py": "#" * (9 << 20)}, "too large"),
        ({"vllm/a.py": "from vllm.b import f", "vllm/b.py": "from vllm.a import f"}, "by itself"),
        ({"vllm/a.py": "def f(): return [x for x in range(10 ** 9)]"}, "cannot decide"),
        ({"vllm/a.py": "def f():\n" + "".join(f"    if a{i}: b = {i}\n" for i in range(50))
          + "    return b"}, ""),
    ],
)  # fmt: skip
def test_a_missing_or_hostile_source_is_unknown_and_never_an_exception(
    members: dict[str, str | bytes], why: str
) -> None:
    answer = ask(members, F)
    assert said(answer, "unknown") == list(CAPABILITIES)
    assert why in answer.why


def test_each_member_is_read_once() -> None:
    members = body("return g()", head="from vllm.b import g\n") | {
        "vllm/b.py": "def g(): return True",
        "vllm/c.py": "",
    }
    asked: list[str] = []

    def read(member: str) -> bytes:
        asked.append(member)
        return members[member].encode()

    gates = [Gate(gate=f"vllm.g{i}", package="vllm", python=F) for i in range(3)]
    read_gates(
        package="vllm",
        version="1",
        read=read,
        names=list(members),
        gates=gates,
        externs=(),
        compiled=lambda _piece, _capability: None,
    )
    assert asked == ["vllm/a.py", "vllm/b.py"]


def test_a_function_that_moved_is_found_in_its_other_file() -> None:
    python = PythonGate(file="vllm/new.py", moved=("vllm/a.py",), function="f")
    assert said(ask(body("return True"), python), "yes") == list(CAPABILITIES)


def test_a_method_is_found_in_the_bases_and_super_is_followed() -> None:
    members = {
        "vllm/base.py": PLATFORM + "class Base:\n    @classmethod\n    def works(cls):\n"
        "        return cls.minimum <= current_platform.get_device_capability().to_int()\n",
        "vllm/a.py": "from .base import Base\nclass Kernel(Base):\n    minimum = 100\n"
        "    @classmethod\n    def works(cls):\n        return super().works()\n",
    }
    python = PythonGate(file="vllm/a.py", function="Kernel.works")
    assert said(ask(members, python), "no") == [75, 80, 86, 89, 90]


def test_the_default_of_an_environment_variable_is_read() -> None:
    members = body("return envs.VLLM_USE and not envs.VLLM_OFF", head="import vllm.envs as envs\n")
    members["vllm/envs.py"] = (
        "import os\nenvironment_variables = {\n"
        '    "VLLM_USE": lambda: bool(int(os.getenv("VLLM_USE", "1"))),\n'
        '    "VLLM_OFF": lambda: os.environ.get("VLLM_OFF"),\n}\n'
    )
    assert said(ask(members, F), "yes") == list(CAPABILITIES)
    given = PythonGate(file="vllm/a.py", function="f", given={"envs.VLLM_USE": False})
    assert said(ask(members, given), "no") == list(CAPABILITIES)


CHOICE = """
from enum import Enum
class Backend(Enum):
    CUTLASS = "cutlass"
    MARLIN = "marlin"
def f():
    backend = Backend("marlin")
    if current_platform.has_device_capability(100):
        backend = Backend.CUTLASS
    return backend
class Method:
    def __init__(self, config):
        self.backend = "marlin"
        if current_platform.has_device_capability(100):
            self.backend = "cutlass"
"""


@pytest.mark.parametrize(
    "python",
    [
        PythonGate(file="vllm/a.py", function="f", returns=("CUTLASS",)),
        PythonGate(
            file="vllm/a.py",
            function="Method.__init__",
            assigns="self.backend",
            returns=("cutlass",),
        ),
    ],
)
def test_a_choice_is_a_yes_where_it_is_the_wanted_one(python: PythonGate) -> None:
    answer = ask({"vllm/a.py": PLATFORM + CHOICE}, python)
    assert said(answer, "no") == [75, 80, 86, 89, 90]
    assert "chooses" in answer.why.lower()


TABLES = """
from .jit import BLACKWELL
@supported_compute_capability(BLACKWELL)
def _cutlass(a): return True
@supported_compute_capability([c for c in BLACKWELL if c < 110])
def _trtllm(a): return True
@supported_compute_capability([100, 120])
def _common(a): return True
def _bare(a): return True
@backend_requirement({"cutlass": _cutlass, "trtllm": _trtllm, "bare": _bare})
def mm_fp4(a, backend): ...
@backend_requirement({}, common_check=_common)
def group(a): ...
@supported_compute_capability([120, 121])
@flashinfer_api
def moe(a): ...
def plain(a): ...
"""


@pytest.mark.parametrize(
    ("function", "backend", "yes"),
    [
        ("mm_fp4", "cutlass", [100, 103, 120]),
        ("mm_fp4", "trtllm", [100, 103]),
        ("mm_fp4", "b12x", []),
        ("group", "", [100, 120]),
        ("moe", "", [120, 121]),
    ],
)
def test_support_decorators_are_read_as_flashinfer_reads_them(
    function: str, backend: str, yes: list[int]
) -> None:
    members = {"flashinfer/a.py": TABLES, "flashinfer/jit.py": "BLACKWELL = [100, 103] + [120]"}
    python = PythonGate(
        file="flashinfer/a.py", function=function, style="decorator", backend=backend
    )
    answer = ask(members, python, package="flashinfer-python")
    assert said(answer, "yes") == yes
    assert not said(answer, "unknown")


@pytest.mark.parametrize(("function", "backend"), [("plain", ""), ("mm_fp4", "bare")])
def test_a_function_without_support_decorators_is_unknown(function: str, backend: str) -> None:
    members = {"flashinfer/a.py": TABLES, "flashinfer/jit.py": "BLACKWELL = [100]"}
    python = PythonGate(
        file="flashinfer/a.py", function=function, style="decorator", backend=backend
    )
    answer = ask(members, python, package="flashinfer-python")
    assert said(answer, "unknown") == list(CAPABILITIES)
    assert "no decorator" in answer.why


def test_a_jit_module_is_generated_for_the_majors_that_it_names() -> None:
    source = "def gen():\n    flags = ctx.get_nvcc_flags_list(supported_major_versions=[10, 12])\n"
    python = PythonGate(file="flashinfer/j.py", function="gen", style="codegen")
    answer = ask({"flashinfer/j.py": source}, python)
    assert said(answer, "yes") == [100, 103, 107, 120, 121]


def test_a_table_of_jit_modules_refuses_what_it_lacks() -> None:
    source = (
        "def get(backend='100'):\n    table = {'100': build, '120f': build}\n"
        "    if backend in ('120', '121') and newer():\n        backend = '120f'\n"
        "    if backend in ('120', '121'): backend = '120f'\n"
        "    if backend not in table:\n        raise ValueError(f'Invalid backend: {backend}')\n"
        "    return table[backend]().load()\n"
    )
    python = PythonGate(
        file="flashinfer/q.py", function="get", style="refuse", capability_parameter="backend"
    )
    answer = ask({"flashinfer/q.py": source}, python)
    assert said(answer, "yes") == [100, 120, 121]
    assert "sm75: Invalid backend: 75" in answer.why


def _extern(minimum: int, below: int, piece: str | None = None, version: str = "") -> Extern:
    predicate = Predicate(
        minimum=minimum,
        below=below,
        needs_piece=piece,
        asked_for=minimum if piece else None,
        sdist=SDIST,
        file="a.cu",
        line=1,
    )
    return Extern(
        call="torch.ops._C.supports_fp4", package="vllm", versions=version, predicate=predicate
    )


def test_a_check_in_c_plus_plus_is_answered_by_its_predicate_in_its_releases() -> None:
    members = body(
        "return torch.ops._C.supports_fp4(current_platform.get_device_capability().to_int())",
        head=PLATFORM + "import torch\n",
    )
    old = _extern(100, 1000, version="<0.20")
    new = (_extern(100, 120, "vllm.x", ">=0.20"), _extern(120, 130, "vllm.x", ">=0.20"))

    def compiled(_piece: str, capability: int) -> bool | None:
        return {100: True, 120: False}.get(capability)

    everywhere = said(ask(members, F, externs=(old, *new), version="0.19.1"), "yes")
    assert everywhere == [100, 103, 107, 110, 120, 121]
    answer = ask(members, F, externs=(old, *new), compiled=compiled)
    assert said(answer, "yes") == [100, 103, 107, 110]
    assert said(ask(members, F, externs=new), "unknown") == everywhere
    assert said(ask(members, F), "unknown") == list(CAPABILITIES)


def test_a_gate_can_be_a_predicate_alone() -> None:
    predicate = Predicate(minimum=100, below=120, sdist=SDIST, file="a.cu", line=7)
    answer = ask({}, predicate=predicate)
    assert said(answer, "yes") == [100, 103, 107, 110]
    assert answer.where == "a.cu:7"


def test_functions_beside_the_first_must_not_say_no_either() -> None:
    members = body("return current_platform.has_device_capability(90)") | {}
    members["vllm/a.py"] += (
        "\ndef g(scheme):\n    return scheme in [kFp8, kNvfp4] and where\n"
        "def h(scheme):\n    return scheme == kNvfp4 and current_platform.is_device_capability(120)\n"
    )
    keys: dict[str, bool | int | str | None] = {"kFp8": "a", "kNvfp4": "b", "scheme": "b"}
    python = PythonGate(file="vllm/a.py", function="f", also=("h",), given=keys)
    assert said(ask(members, python), "yes") == [120]
    undecided = PythonGate(file="vllm/a.py", function="f", also=("g",), given=keys)
    answer = ask(members, undecided)
    assert said(answer, "no") == [75, 80, 86, 89]
    assert said(answer, "unknown") == [90, 100, 103, 107, 110, 120, 121]


def test_a_minimum_is_a_yes_from_there_on() -> None:
    python = PythonGate(file="vllm/a.py", function="f", style="minimum")
    answer = ask(body("return 100"), python)
    assert said(answer, "yes") == [100, 103, 107, 110, 120, 121]
    assert answer.why.endswith("asks for capability 100 or higher")
    assert said(ask(body("return None"), python), "unknown") == list(CAPABILITIES)
