from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any, Protocol

import pytest

from matrix.errors import ConfigurationError, ToolError
from matrix.evidence import interpreter as module
from matrix.evidence.interpreter import ask, interpreter, payload


class MakeStack(Protocol):
    def __call__(
        self, version: str = "0.33.0", files: dict[str, str | None] | None = None
    ) -> Path: ...


REQUEST = {
    "targets": [
        {"name": f"sm{major}{minor}", "capability": [major, minor]}
        for major, minor in ((9, 0), (10, 0), (11, 0), (12, 1))
    ],
    "environments": ["slim", "devel"],
    "cubins": "ask",
    "jobs": 2,
}


def asked(place: Path, **changed: Any) -> dict[str, Any]:
    return ask(interpreter(place), {**REQUEST, **changed})


def chosen(told: dict[str, Any], environment: str, target: str) -> dict[str, Any]:
    answers = told["environments"][environment]["targets"][target]
    return {kind: answer["selected"] for kind, answer in answers.items()}


def digest(folder: Path) -> dict[str, str]:
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_every_layer_kind_is_asked_in_both_environments(make_stack: MakeStack) -> None:
    told = asked(make_stack())
    assert told["packages"]["vllm"] == "0.33.0"
    assert chosen(told, "devel", "sm121") == {
        "dense_w4a4": "FlashInferCutlassNvFp4LinearKernel",
        "dense_w4a16": "MarlinNvFp4LinearKernel",
        "moe_w4a4": "VLLM_CUTLASS",
        "moe_w4a16": "MARLIN",
        "kv_cache": "FLASHINFER",
    }
    assert chosen(told, "slim", "sm121")["dense_w4a4"] == "MarlinNvFp4LinearKernel"
    assert chosen(told, "devel", "sm90")["dense_w4a4"] == "MarlinNvFp4LinearKernel"


def test_candidates_and_flashinfer_say_why_not(make_stack: MakeStack) -> None:
    told = asked(make_stack())["environments"]["slim"]["targets"]["sm121"]
    said = {c["name"]: (c["supported"], c["reason"]) for c in told["dense_w4a4"]["candidates"]}
    assert said == {
        "FlashInferCutlassNvFp4LinearKernel": (False, "FlashInfer required"),
        "RaisingLinearKernel": (None, "RuntimeError: two lines"),
        "MarlinNvFp4LinearKernel": (True, ""),
        "FlashInferTrtllmNvFp4LinearKernel": (True, "behind MarlinNvFp4LinearKernel in the list"),
    }
    own = {o["call"]: (o["supported"], o["reason"]) for o in told["dense_w4a4"]["flashinfer"]}
    assert own["mm_fp4(cutlass)"] == (True, "")
    assert own["mm_fp4(trtllm)"] == (False, "")
    assert own["mm_fp4(cudnn)"] == (None, "ValueError: no cuDNN")
    moe = {o["call"]: o["reason"] for o in told["moe_w4a4"]["flashinfer"]}
    assert moe["cutlass_fused_moe"] == "it does not say for which GPUs it is"
    assert moe["b12x_fused_moe"] == "this FlashInfer has no such operation"
    experts = {c["name"]: c["reason"] for c in told["moe_w4a4"]["candidates"]}
    assert experts["B12X"] == "ImportError: no b12x"
    assert experts["MARLIN"] == "behind VLLM_CUTLASS in the list"


def test_a_refusal_is_no_choice(make_stack: MakeStack) -> None:
    told = asked(make_stack())["environments"]["devel"]["targets"]
    assert told["sm90"]["moe_w4a4"]["outcome"] == "none"
    assert "No NvFP4 MoE backend" in told["sm90"]["moe_w4a4"]["reason"]
    assert told["sm100"]["kv_cache"]["outcome"] == "none"


def test_a_target_whose_question_kills_the_interpreter_is_unknown_and_alone(
    make_stack: MakeStack,
) -> None:
    told = asked(make_stack())["environments"]["devel"]["targets"]
    assert {answer["outcome"] for answer in told["sm110"].values()} == {"unknown"}
    assert told["sm110"]["kv_cache"]["reason"] == "the interpreter was ended by SIGABRT"
    assert told["sm121"]["moe_w4a4"]["outcome"] == "chosen"


@pytest.mark.parametrize(
    ("wish", "reachable", "how"),
    [
        ("ask", False, "asked by vLLM itself, from this machine"),
        ("reachable", True, "stated by who asked"),
        ("unreachable", False, "stated by who asked"),
    ],
)
def test_whether_cubins_were_reachable_is_told_and_decides(
    make_stack: MakeStack, wish: str, reachable: bool, how: str
) -> None:
    told = asked(make_stack(), cubins=wish)
    assert told["cubins"] == {"reachable": reachable, "how": how}
    cache = told["environments"]["devel"]["targets"]["sm100"]["kv_cache"]
    assert cache["selected"] == ("FLASHINFER" if reachable else None)


def test_a_release_that_is_not_known_is_unknown_and_not_imported(make_stack: MakeStack) -> None:
    told = asked(make_stack("0.34.0", {"vllm/__init__.py": "raise SystemExit('imported')"}))
    answers = told["environments"]["slim"]["targets"]["sm121"]
    assert {answer["outcome"] for answer in answers.values()} == {"unknown"}
    assert "vLLM 0.34.0" in answers["kv_cache"]["reason"]
    assert "0.12.0 up to 0.34.0" in answers["kv_cache"]["reason"]


def test_a_question_that_moved_leaves_the_others(make_stack: MakeStack) -> None:
    place = make_stack(files={"vllm/v1/attention/selector.py": ""})
    told = asked(place)["environments"]["slim"]["targets"]["sm121"]
    assert told["kv_cache"]["outcome"] == "unknown"
    assert "AttentionSelectorConfig" in told["kv_cache"]["reason"]
    assert told["moe_w4a4"]["outcome"] == "chosen"


def test_nothing_in_the_environment_is_changed(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    noting = "from pathlib import Path; Path('~/noted').expanduser().write_text('by an import')"
    place, home = make_stack(files={"vllm/v1/__init__.py": noting}), tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    before = digest(place)
    asked(place)
    assert digest(place) == before
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "kind", "words"),
    [
        ({"torch": None}, ConfigurationError, "torch is not installed there"),
        ({"vllm": None}, ConfigurationError, "vllm is not installed there"),
        ({"vllm-0.33.0.dist-info": None}, ToolError, "without its metadata"),
        ({"torch/version.py": "cuda = None"}, ToolError, "a build without CUDA"),
        ({"torch/__init__.py": "import none"}, ToolError, "No module named 'none'"),
        (
            {"vllm/v1/attention/backends/flashinfer.py": "import lost"},
            ToolError,
            "vllm.v1.attention.backends.flashinfer cannot be imported",
        ),
        ({"vllm/__init__.py": "import os; os.abort()"}, ToolError, "ended by SIGABRT"),
        ({"vllm/__init__.py": "raise SystemExit('gone')"}, ToolError, "exit code 1; gone"),
    ],
)
def test_what_is_missing_or_broken_is_one_line(
    make_stack: MakeStack, files: dict[str, str | None], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        asked(make_stack(files=files))
    assert "\n" not in str(caught.value)


def test_an_environment_without_flashinfer_answers(make_stack: MakeStack) -> None:
    place = make_stack(files={"flashinfer": None, "flashinfer_python-0.7.2.post1.dist-info": None})
    told = asked(place)
    assert set(told["packages"]) == {"vllm", "torch"}
    own = told["environments"]["slim"]["targets"]["sm121"]["dense_w4a4"]["flashinfer"]
    assert {o["supported"] for o in own} == {None}


def test_what_is_no_interpreter_is_refused(tmp_path: Path) -> None:
    liar = tmp_path / "liar"
    liar.write_text("#!/bin/sh\necho hello\n")
    text = tmp_path / "text"
    text.write_text("hello")
    liar.chmod(0o755)
    for place in (liar, text, Path("/bin/ls")):
        with pytest.raises(ConfigurationError, match="is no Python interpreter"):
            interpreter(place)
    with pytest.raises(ConfigurationError, match="is not there"):
        interpreter(tmp_path)


def test_an_old_python_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text("#!/bin/sh\necho nvfp4 3 8\n")
    old.chmod(0o755)
    with pytest.raises(ConfigurationError, match=r"Python 3\.8: 3\.9 or newer"):
        interpreter(old)


def test_a_script_that_starts_a_python_elsewhere_will_do(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    script = tmp_path / "in-image"
    script.write_text(f'#!/bin/sh\nexec {make_stack()}/bin/python "$@"\n')
    script.chmod(0o755)
    assert chosen(asked(script), "devel", "sm121")["kv_cache"] == "FLASHINFER"


def test_without_a_path_the_active_environment_is_meant(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_stack()
    monkeypatch.setenv("VIRTUAL_ENV", str(place))
    assert interpreter(None) == place / "bin" / "python"


def test_an_interpreter_that_never_ends_is_stopped(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    noted = tmp_path / "process"
    hang = f"import os,time; open({str(noted)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    place = make_stack(files={"vllm/__init__.py": hang})
    monkeypatch.setattr(module, "PATIENCE", 3.0)
    with pytest.raises(ToolError, match="no answer within 3 s"):
        asked(place)
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)


def test_the_payload_is_one_file_of_the_standard_library(tmp_path: Path) -> None:
    payload(tmp_path / "select.pyz")
    with zipfile.ZipFile(tmp_path / "select.pyz") as archive:
        names = archive.namelist()
        text = "".join(archive.read(name).decode() for name in names)
    assert "__main__.py" in names
    assert "probes/selection/standin.py" in names
    assert not any(word in text for word in ("import msgspec", "from matrix", "import requests"))


def test_an_older_release_of_the_same_kind_is_asked_as_it_asks(make_stack: MakeStack) -> None:
    linear = "vllm/model_executor/kernels/linear/__init__.py"
    layer = "vllm/model_executor/layers/fused_moe/config.py"
    stack = Path(__file__).parents[2] / "stack"
    old: dict[str, str | None] = {
        linear: (stack / linear)
        .read_text()
        .replace("use_a16=False", "")
        .replace("not use_a16 and", ""),
        layer: (stack / layer)
        .read_text()
        .replace("intermediate_size,", "intermediate_size_per_partition,"),
    }
    told = asked(make_stack("0.20.2", old))["environments"]["devel"]["targets"]["sm121"]
    assert told["dense_w4a4"]["selected"] == "FlashInferCutlassNvFp4LinearKernel"
    weight_only = told["dense_w4a16"]
    assert weight_only["selected"] == "CompressedTensorsW4A16Fp4"
    assert weight_only["kernel"] == "apply_fp4_marlin_linear"
    assert told["moe_w4a4"]["selected"] == "VLLM_CUTLASS"


def test_an_installed_cubin_package_answers_for_the_repository(make_stack: MakeStack) -> None:
    told = asked(make_stack(files={"flashinfer_cubin.py": ""}))
    assert told["cubins"] == {"reachable": True, "how": "flashinfer-cubin is installed"}


def test_a_release_without_kernel_classes_is_asked_by_its_function(make_stack: MakeStack) -> None:
    utilities = "vllm/model_executor/layers/quantization/utils/nvfp4_utils.py"
    text = (
        "from enum import Enum\n"
        "from vllm.utils.flashinfer import has_flashinfer\n"
        "class NvFp4LinearBackend(Enum):\n"
        "    VLLM_CUTLASS = 1\n    FLASHINFER_CUTLASS = 2\n    MARLIN = 3\n    FBGEMM = 4\n"
        "def cutlass_fp4_supported(): return False\n"
        "def is_fp4_marlin_supported(): return True\n"
        "def select_nvfp4_linear_backend():\n"
        "    chosen = 'FLASHINFER_CUTLASS' if has_flashinfer() else 'MARLIN'\n"
        "    return NvFp4LinearBackend[chosen]\n"
    )
    dtypes = "from typing import Literal\nCacheDType = Literal['auto', 'fp8']\n"
    place = make_stack("0.19.1", {utilities: text, "vllm/config/cache.py": dtypes})
    told = asked(place)["environments"]
    assert chosen({"environments": told}, "devel", "sm121")["dense_w4a4"] == "FLASHINFER_CUTLASS"
    slim = told["slim"]["targets"]["sm121"]
    assert slim["dense_w4a4"]["selected"] == "MARLIN"
    said = {c["name"]: (c["supported"], c["reason"]) for c in slim["dense_w4a4"]["candidates"]}
    assert said["VLLM_CUTLASS"] == (False, "its check says no, without a reason")
    assert said["FBGEMM"] == (None, "not asked: it is taken on request alone")
    assert slim["dense_w4a16"]["selected"] == "CompressedTensorsW4A16Fp4"
    assert "no nvfp4 among its --kv-cache-dtype values" in slim["kv_cache"]["reason"]


_COMPRESSED = "vllm/model_executor/layers/quantization/compressed_tensors/compressed_tensors.py"
_SIZED_BY_PARTS = """
from types import SimpleNamespace
class FusedMoEParallelConfig:
    @staticmethod
    def make(tp_size_, dp_size_, vllm_parallel_config):
        return tp_size_, dp_size_
class FusedMoEConfig(SimpleNamespace):
    def __init__(self, num_experts, experts_per_token, hidden_dim, num_local_experts,
                 moe_parallel_config, in_dtype):
        assert moe_parallel_config == (1, 1)
        super().__init__(experts_per_token=experts_per_token)
"""


def old(**changed: str) -> dict[str, str | None]:
    """vLLM 0.12: the schemes choose; no cache dtype, no size of an expert."""
    stack = Path(__file__).parents[2] / "stack" / _COMPRESSED
    text = stack.read_text()
    for before, after in changed.items():
        text = text.replace(before, after)
    configuration = "class ParallelConfig: pass\n"
    configuration += (Path(__file__).parents[2] / "stack/vllm/config/__init__.py").read_text()
    return {
        _COMPRESSED: text,
        "vllm/config/__init__.py": configuration,
        "vllm/config/cache.py": "from typing import Literal\nCacheDType = Literal['auto', 'fp8']\n",
        "vllm/model_executor/layers/fused_moe/config.py": _SIZED_BY_PARTS,
    }


def test_a_release_that_chooses_in_its_schemes_is_asked_by_them(make_stack: MakeStack) -> None:
    told = asked(make_stack("0.12.0", old()))
    assert chosen(told, "devel", "sm121") == {
        "dense_w4a4": "flashinfer-cutlass",
        "dense_w4a16": "CompressedTensorsW4A16Fp4",
        "moe_w4a4": "cutlass_moe_fp4",
        "moe_w4a16": None,
        "kv_cache": None,
    }
    slim = told["environments"]["slim"]["targets"]
    dense = slim["sm121"]["dense_w4a4"]
    assert (dense["selected"], dense["kernel"]) == ("cutlass", "cutlass_scaled_fp4_mm")
    assert slim["sm90"]["moe_w4a4"]["selected"] == "MARLIN"
    refused = slim["sm121"]["moe_w4a16"]
    assert refused["outcome"] == "none"
    assert refused["reason"].startswith(
        "loading such a checkpoint fails: AttributeError: 'NoneType'"
    )


def test_a_checkpoint_of_the_other_kind_that_gets_another_kernel_is_told(
    make_stack: MakeStack,
) -> None:
    told = asked(make_stack("0.12.0", old()))["environments"]["devel"]["targets"]
    assert told["sm121"]["dense_w4a4"]["reason"] == ""
    sm90 = told["sm90"]["dense_w4a4"]
    assert sm90["selected"] == "CompressedTensorsW4A16Fp4"
    assert sm90["reason"] == "of a ModelOpt checkpoint: flashinfer-cutlass"


def test_a_scheme_that_names_two_kernels_is_not_guessed_at(make_stack: MakeStack) -> None:
    either = "cutlass_scaled_fp4_mm(x) if x else apply_fp4_marlin_linear"
    place = make_stack("0.12.0", old(**{"return apply_fp4_marlin_linear": f"return {either}"}))
    dense = asked(place)["environments"]["slim"]["targets"]["sm121"]["dense_w4a16"]
    assert dense["outcome"] == "unknown"
    assert "apply_fp4_marlin_linear', 'cutlass_scaled_fp4_mm" in dense["reason"]


def test_other_attributes_that_are_missing_are_no_refusal(make_stack: MakeStack) -> None:
    place = make_stack("0.12.0", old(**{"layer.moe_config)": "layer.moe_configuration)"}))
    experts = asked(place)["environments"]["slim"]["targets"]["sm121"]["moe_w4a4"]
    assert experts["outcome"] == "unknown"
    assert "moe_configuration" in experts["reason"]


_BUILDER = """

class Builder:
    def __init__(self, layer, names, config, device):
        assert layer.kv_quant_mode == config.cache_config.cache_dtype == "nvfp4"
        assert config.model_config.get_num_attention_heads(None) == 32
        from vllm.platforms import current_platform
        if current_platform.get_device_capability().major != 10:
            raise ValueError({said!r})


FlashInferBackend.get_builder_cls = staticmethod(lambda: Builder)
"""


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("--kv-cache-dtype nvfp4 requires sm100f", ("none", None)),
        ("this model has no layers", ("chosen", "FLASHINFER")),
    ],
)
def test_a_backend_that_refuses_the_cache_as_the_server_starts_is_a_refusal(
    make_stack: MakeStack, said: str, outcome: tuple[str, str | None]
) -> None:
    platform = "vllm/platforms/cuda.py"
    text = (Path(__file__).parents[2] / "stack" / platform).read_text() + _BUILDER.format(said=said)
    told = asked(make_stack(files={platform: text}), cubins="reachable")
    devel = told["environments"]["devel"]["targets"]
    assert devel["sm100"]["kv_cache"]["selected"] == "FLASHINFER"
    cache = devel["sm121"]["kv_cache"]
    assert (cache["outcome"], cache["selected"]) == outcome
    assert cache["reason"] == (f"ValueError: {said}" if outcome[0] == "none" else "")


def test_what_an_environment_prints_when_it_starts_does_not_matter(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'loading modules'\necho nvfp4 3 12\n", encoding="utf-8")
    python.chmod(0o755)
    assert interpreter(python) == python
