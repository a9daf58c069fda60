from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from packaging.version import Version

from matrix import schemas
from matrix.errors import NotFoundError
from matrix.evidence import lock
from matrix.evidence.lockfile import Lock
from matrix.knowledge import Knowledge

if TYPE_CHECKING:
    from tests.conftest import Command

SPARK = ("--target", "sm121", "--need", "gemm", "--need", "moe")
NODE = ("--target", "sm100", "--need", "gemm")
CARD = ("--target", "sm120", "--need", "gemm", "--need", "moe")


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def chosen(command: Command, *arguments: object, code: int = 0) -> dict[str, Any]:
    ended, out, err = command("pins", *arguments, "--json")
    assert (ended, err) == (code, "")
    assert out.count("\n") == 1
    given: dict[str, Any] = json.loads(out)
    return given


def release(name: str) -> Version:
    return Version(name.partition("==")[2])


def refused(command: Command, *arguments: object) -> str:
    """Demand exit 2 with nothing on stdout; return the last line on stderr."""
    code, out, err = command("pins", *arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    line: str = err.splitlines()[-1]
    assert line.isprintable()
    return line


# The choice


def test_json_is_one_object_that_the_shipped_schema_describes(command: Command) -> None:
    given = chosen(command, *SPARK)
    assert list(given) == ["newest", "oldest", "rejected", "not_asked"]
    Draft202012Validator(json.loads(schemas.path("pins").read_text("utf-8"))).validate(given)


def test_a_choice_that_lacks_a_compiler_is_rejected(command: Command) -> None:
    slim = {each["stack"]: each["reason"] for each in chosen(command, *SPARK)["rejected"]}
    assert slim["vllm==0.20.2"] == "gemm, moe on aarch64: broken (no_compiler)"
    devel = chosen(command, *SPARK, "--environment", "devel")["rejected"]
    assert "vllm==0.20.2" not in {each["stack"] for each in devel}


def test_a_control_that_falls_back_is_rejected_for_that(command: Command) -> None:
    given = chosen(command, "--target", "sm90", "--machine", "x86_64", "--need", "gemm", code=1)
    why = {each["stack"]: each["reason"] for each in given["rejected"]}
    assert why["vllm==0.33.0"] == "gemm on x86_64: fallback (weight_only_fallback)"


def test_a_spark_is_served_since_the_first_torch_with_cuda_for_its_cpu(command: Command) -> None:
    given = chosen(command, *SPARK, "--environment", "devel")
    assert given["oldest"] == "vllm==0.20.0"
    assert release(given["newest"]) >= Version("0.33.0")
    why = {each["stack"]: each["reason"] for each in given["rejected"]}
    assert why["vllm==0.19.1"] == "gemm, moe on aarch64: broken (torch_without_cuda)"
    assert why["vllm==0.9.0"] == "vllm 0.9.0 has no wheel for aarch64, only for x86_64"


@pytest.mark.parametrize("target", ["sm100", "sm120", "sm121"])
@pytest.mark.parametrize("environment", ["slim", "devel"])
def test_the_choice_is_what_show_says(command: Command, target: str, environment: str) -> None:
    asked = ("--target", target, "--environment", environment)
    given = chosen(command, *asked, "--need", "gemm", "--need", "moe")
    _, out, _ = command(
        "show", "--format", "json", *asked, "--capability", "gemm", "--capability", "moe"
    )
    verdicts: dict[str, set[str]] = {}
    for cell in json.loads(out)["cells"]:
        verdicts.setdefault(cell["stack"], set()).add(cell["verdict"])
    bad = {stack for stack, seen in verdicts.items() if seen - {"works", "likely"}}
    assert {each["stack"] for each in given["rejected"]} == bad
    plain = [stack for stack in verdicts if stack not in bad and stack.startswith("vllm==")]
    assert given["newest"] == max(plain, key=release)
    assert given["oldest"] == min(plain, key=release)


def test_every_machine_of_the_target_counts_unless_one_is_named(command: Command) -> None:
    both = chosen(command, *NODE)
    here = chosen(command, *NODE, "--machine", "x86_64")
    there = chosen(command, *NODE, "--machine", "aarch64")
    assert release(here["oldest"]) < release(both["oldest"]) == release(there["oldest"])
    assert not any("aarch64:" in each["reason"] for each in here["rejected"])


def test_an_old_driver_leaves_the_releases_with_an_older_cuda(command: Command) -> None:
    given = chosen(command, *CARD, "--driver", "570.86")
    assert release(given["newest"]) < Version("0.20.0")
    told = "driver 570.86 is older than 580.65.06, which CUDA 13.0 needs"
    assert told in {each["reason"] for each in given["rejected"]}
    new = chosen(command, *CARD, "--driver", "580")
    assert new == chosen(command, *CARD)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (("--driver", "565.57.01"), "driver 565.57.01 is older than 570.26, the first that knows"),
        (("--python", "3.8"), "needs Python "),
    ],
)
def test_where_nothing_qualifies_both_ends_are_null_and_it_is_exit_1(
    command: Command, host: tuple[str, ...], reason: str
) -> None:
    given = chosen(command, *CARD, *host, code=1)
    assert (given["newest"], given["oldest"]) == (None, None)
    assert {each["stack"] for each in given["rejected"]} == {
        stack.name for stack in Knowledge.load().stacks
    }
    assert reason in given["rejected"][0]["reason"]
    code, out, err = command("pins", *CARD, *host)
    assert (code, err) == (1, "")
    assert out.startswith("No stack does gemm, moe on sm120 (x86_64; slim; ")
    assert reason.partition(" ")[0] in out


@pytest.mark.parametrize("width", [80, 160])
def test_the_text_fits_the_terminal_and_names_both_ends(
    command: Command, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, err = command("pins", *CARD, "--driver", "580.95.05", "--python", "3.12")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "These do gemm, moe on sm120 (x86_64; slim; driver 580.95.05; Python 3.12):"
    given = chosen(command, *CARD)
    assert f"newest  {given['newest']}" in lines
    assert f"oldest  {given['oldest']}" in lines
    assert f"These do not ({len(given['rejected'])}):" in lines
    assert width - 30 < max(map(len, lines)) <= width


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--target", "sm122", "--need", "gemm"), "unknown target 'sm122'; did you mean sm121?"),
        (("--target", "sm121", "--need", "gem"), "unknown capability 'gem'; did you mean gemm?"),
        (("--target", "sm121", "--need", ""), "unknown capability ''; known: gemm, "),
        (("--target", "sm121"), "what the stack must do: --need gemm (known: quantize, gemm, "),
        (("--need", "gemm"), "--target"),
        ((*SPARK, "--machine", "x86_64"), "sm121 exists with aarch64 only"),
        ((*SPARK, "--machine", "arm64"), "arm64"),
        ((*SPARK, "--environment", "fat"), "fat"),
        ((*SPARK, "--driver", "new"), "'new' is no driver version"),
        ((*SPARK, "--driver", "580.95.05.1"), "'580.95.05.1' is no driver version"),
        ((*SPARK, "--driver", ""), "'' is no driver version"),
        ((*SPARK, "--python", "3"), "'3' is no Python version, such as 3.12"),
        ((*SPARK, "--python", "2.7"), "'2.7' is no Python version"),
        ((*SPARK, "--python", "3.12rc1"), "'3.12rc1' is no Python version"),
        ((*SPARK, "--python", "3.١٢"), "is no Python version"),
        ((*SPARK, "--python", ""), "'' is no Python version"),
        ((*SPARK, "--stack", "vllm==0.33.0"), "--stack, --override and --allow-source say how"),
        ((*SPARK, "--override", "torch"), "--stack, --override and --allow-source say how"),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_wrong_word_is_exit_2_and_says_the_nearest(
    command: Command, arguments: tuple[str, ...], told: str, form: tuple[str, ...]
) -> None:
    assert told in refused(command, *arguments, *form)


# The lock: what is around uv (tests/e2e/test_lock.py asks the real one)


class Resolver:
    """Stands for `lock.resolve`: remembers what it was asked, and answers with what was judged."""

    def __init__(self) -> None:
        self.asked: list[tuple[lock.Wanted, dict[str, Any]]] = []
        self.error: BaseException | None = None
        self.text = "vllm==0.33.0 --hash=sha256:aa\n"

    def __call__(self, asked: lock.Wanted, **settings: Any) -> Lock:
        self.asked.append((asked, settings))
        if self.error:
            raise self.error
        return Lock(text=self.text, glibc="2.35")


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Resolver]:
    standing = Resolver()
    monkeypatch.setattr(lock, "resolve", standing)
    monkeypatch.chdir(tmp_path)
    yield standing
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


FILE = Path("requirements.txt")
LOCK = (*SPARK, "--lock", FILE)


def test_the_newest_is_locked_with_a_header_that_says_what_for(
    command: Command, resolver: Resolver
) -> None:
    code, out, err = command("pins", *LOCK)
    assert code == 0
    assert out.startswith("These do gemm, moe")
    assert err.startswith("requirements.txt: 1 packages\n")
    newest = chosen(command, *SPARK)["newest"]
    ((asked, settings),) = resolver.asked
    assert asked.requirements == (newest,)
    assert (settings["machine"], settings["python"]) == ("aarch64", "3.12")
    first, second, *rest = FILE.read_text("utf-8").splitlines()
    assert first.startswith(f"# {newest} for sm121 (")
    assert first.endswith(") on aarch64: CPython 3.12, glibc 2.35 or newer")
    assert second.startswith("# Locked by nvfp4-matrix on 20")
    assert second.endswith("pip install --require-hashes --no-deps -r requirements.txt")
    assert rest == ["vllm==0.33.0 --hash=sha256:aa"]


def test_json_stays_one_object_beside_a_lock(command: Command, resolver: Resolver) -> None:
    code, out, err = command("pins", *LOCK, "--json", "--python", "3.13", "--allow-source")
    assert code == 0
    assert json.loads(out)["oldest"] == "vllm==0.26.0"
    assert "requirements.txt: 1 packages" in err
    _, settings = resolver.asked[0]
    assert (settings["python"], settings["allow_source"]) == ("3.13", True)


def test_what_the_matrix_judged_otherwise_is_told(command: Command, resolver: Resolver) -> None:
    resolver.text += "torch==1.13.0+cpu --hash=sha256:aa\n"
    _, _, err = command("pins", *LOCK)
    told = [line for line in err.splitlines() if "is not what was judged" in line]
    assert any("torch 1.13.0+cpu, judged with 2." in line for line in told)
    assert any("flashinfer-python absent, judged with 0." in line for line in told)


def test_another_stack_is_locked_and_exit_1_where_it_does_not_qualify(
    command: Command, resolver: Resolver
) -> None:
    code, _, err = command("pins", *LOCK, "--stack", "vllm[flashinfer]==0.11.0")
    assert code == 1
    assert "vllm[flashinfer]==0.11.0 does not qualify: gemm, moe on aarch64: broken" in err
    assert resolver.asked[0][0].requirements == ("vllm[flashinfer]==0.11.0",)
    assert FILE.exists()
    assert command("pins", *LOCK, "--stack", "vllm==0.32.0")[0] == 0


def test_a_stack_by_hand_is_locked_with_its_pins_over_what_packages_require(
    command: Command, resolver: Resolver
) -> None:
    stack = next(stack for stack in Knowledge.load().stacks if len(stack.pins) > 1)
    lead, *others = (f"{package}=={version}" for package, version in stack.pins.items())
    code, _, _ = command("pins", *LOCK, "--stack", stack.name, "--override", "numpy>=2")
    assert code in (0, 1)
    ((asked, _),) = resolver.asked
    assert asked.requirements == (lead, *others)
    assert asked.overrides == (*others, "numpy>=2")
    assert FILE.read_text("utf-8").startswith(f"# {stack.name} for sm121 (")


def test_no_stack_that_qualifies_is_no_lock(command: Command, resolver: Resolver) -> None:
    code, out, err = command("pins", *LOCK, "--driver", "470.1")
    assert code == 1
    assert out.startswith("No stack does")
    assert err == "nvfp4-matrix: no lock is written: no stack qualifies\n"
    assert not resolver.asked
    assert not FILE.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((*NODE, "--lock", FILE), "sm100 exists with x86_64 and aarch64: say --machine"),
        ((*LOCK, "--stack", "vllm==0.33.77"), "unknown stack 'vllm==0.33.77'; did you mean"),
        ((*LOCK, "--stack", ""), "unknown stack ''"),
        ((*LOCK, "--stack", "vllm==0.33.0\n-e ."), "unknown stack 'vllm==0.33.0\\n-e .'"),
        ((*LOCK, "--override", "-e ."), "'-e .' is no requirement, such as torch==2.11.0"),
        ((*LOCK, "--override", "a\n--index-url=x"), "'a\\n--index-url=x' is no requirement"),
        ((*LOCK, "--override", "../x.whl"), "'../x.whl' is no requirement"),
        ((*LOCK, "--override", "torch==$(id)"), "'torch==$(id)' is no requirement"),
        ((*SPARK, "--lock", "none/file"), "none/file: no folder to write that file into"),
        ((*SPARK, "--lock", "."), "is a directory"),
        ((*SPARK, "--lock", ""), ".: is a folder; name a file"),
    ],
)
def test_what_cannot_be_locked_is_refused_before_anything_is_printed(
    command: Command, resolver: Resolver, arguments: tuple[object, ...], told: str
) -> None:
    assert told in refused(command, *arguments)
    assert not resolver.asked
    assert not FILE.exists()


def test_the_leading_package_cannot_be_overridden(command: Command, resolver: Resolver) -> None:
    code, _, err = command("pins", *LOCK, "--override", "VLLM==0.1")
    assert code == 2
    assert err == "nvfp4-matrix: vllm is what the stack is about: choose another with --stack\n"
    assert not resolver.asked
    assert not FILE.exists()


def test_a_lock_that_fails_leaves_the_old_one(command: Command, resolver: Resolver) -> None:
    FILE.write_text("old", "utf-8")
    resolver.error = NotFoundError("x cannot be locked")
    code, _, err = command("pins", *LOCK)
    assert (code, err) == (2, "nvfp4-matrix: x cannot be locked\n")
    assert FILE.read_text("utf-8") == "old"


def test_a_file_name_cannot_write_a_line_of_the_lock(command: Command, resolver: Resolver) -> None:
    file = Path("a b\n--index-url=http:evil")
    assert command("pins", *SPARK, "--lock", file)[0] == 0
    lines = file.read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("# ")] == resolver.text.splitlines()
    assert lines[1].endswith("-r 'a b --index-url=http:evil'")


def test_what_was_executed_rejects_a_stack_that_the_ledger_likes(
    command: Command, tmp_path: Path
) -> None:
    ask = ("pins", "--target", "sm121", "--need", "gemm", "--json")
    newest = json.loads(command(*ask)[1])["newest"]
    line = {
        "stack": newest,
        "target": "sm121",
        "machine": "aarch64",
        "environment": "slim",
        "capability": "gemm",
        "probe": {"name": "correctness.gemm", "sha256": "0" * 64},
        "backend": "cutlass",
        "status": "fail",
        "reason": "all_zero",
        "when": "2026-11-21T03:00:00Z",
        "run": "one",
    }
    (tmp_path / "one.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    code, out, _ = command(*ask, "--results", str(tmp_path))
    told = json.loads(out)
    assert code == 0
    assert told["newest"] not in (None, newest)
    assert {"stack": newest, "reason": "gemm on aarch64: broken (all_zero)"} in told["rejected"]


def test_what_only_results_tell_can_be_needed(command: Command, tmp_path: Path) -> None:
    ask = ("pins", "--target", "sm121", "--need", "serve", "--results", str(tmp_path), "--json")
    code, out, _ = command(*ask)
    assert code == 1
    told = json.loads(out)
    assert told["newest"] is None
    assert any(each["reason"] == "serve on aarch64: nothing is known" for each in told["rejected"])


def test_a_folder_of_results_that_is_none_is_exit_2(command: Command, tmp_path: Path) -> None:
    code, _, err = command(
        "pins", "--target", "sm121", "--need", "gemm", "--results", str(tmp_path / "no")
    )
    assert code == 2
    assert "is no folder" in err
