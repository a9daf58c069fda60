from __future__ import annotations

import io
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from matrix import schemas

Command = Callable[..., tuple[int, str, str]]
Golden = Callable[[Path, str], None]

GOLDEN = Path(__file__).parent / "golden"
SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"
if not SAMPLES.is_dir() and not os.environ.get("CI"):
    pytest.skip("the samples lie in a folder beside the project", allow_module_level=True)
FILES = sorted(SAMPLES.glob("*.txt"))
NVFP4 = SAMPLES / "vllm-bench-serve-nvfp4-c10.txt"
AWQ = SAMPLES / "vllm-bench-serve-awq-c10.txt"
STACK = "vLLM main of November 2025"
PLACE = ("--stack", STACK, "--target", "sm121")


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reports.commands.importing.now", lambda: "2026-11-21T03:00:00Z")
    monkeypatch.setattr("reports.commands.show.now", lambda: "2026-11-21T03:00:01Z")


def test_the_samples_come_out_as_slow_with_both_ratios(command: Command, golden: Golden) -> None:
    code, out, err = command("import", *FILES, *PLACE, "--results", "r")
    assert (code, err) == (0, "")
    golden(GOLDEN / "import.txt", out)
    code, shown, _ = command("show", "--results", "r", "--stack", STACK, "--environment", "slim")
    assert code == 0
    golden(GOLDEN / "import-show.txt", shown)


def test_the_documentation_shows_what_is_printed() -> None:
    told = (Path(__file__).parents[2] / "docs" / "results.md").read_text("utf-8")
    assert (GOLDEN / "import.txt").read_text("utf-8") in told
    table = (GOLDEN / "import-show.txt").read_text("utf-8").partition("\n\n")[0]
    assert table in told


def test_json_is_a_line_a_result_and_fits_the_schema(command: Command, golden: Golden) -> None:
    code, out, _ = command("import", *FILES, *PLACE, "--results", "r", "--json")
    assert code == 0
    held = Draft202012Validator(json.loads(schemas.path("result").read_text("utf-8")))
    for line in out.splitlines():
        held.validate(json.loads(line))
    (file,) = Path("r").iterdir()
    assert file.read_text("utf-8") == out
    golden(
        GOLDEN / "import.jsonl", re.sub(r'("name":"import\.[a-z-]+","sha256":")\w+', r"\1…", out)
    )


def test_the_default_folder_is_what_show_reads(command: Command) -> None:
    serve = ("--capability", "serve", "--format", "json")
    assert json.loads(command("show", *serve)[1])["cells"] == []
    known = ("--stack", "vllm==0.33.0", "--target", "sm121", "--environment", "devel")
    assert command("import", *FILES, *known)[0] == 0
    cells = json.loads(command("show", *serve)[1])["cells"]
    assert [(c["stack"], c["environment"], c["verdict"]) for c in cells] == [
        ("vllm==0.33.0", "devel", "slow")
    ]
    brief = command("show", "--stack", "vllm==0.33.0")[1]
    assert "serve  " in brief
    assert "slow" in brief


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_every_form_shows_a_declared_stack(command: Command, form: str) -> None:
    command("import", *FILES, *PLACE)
    code, out, _ = command("show", "--format", form)
    assert code == 0
    assert STACK in out


def test_standard_input_is_read(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(NVFP4.read_bytes())

    monkeypatch.setattr(sys, "stdin", Stdin)
    code, out, _ = command("import", "native=-", f"baseline={AWQ}", *PLACE)
    assert code == 0
    assert "slow (slower_than_baseline)" in out
    assert "native standard input, baseline vllm-bench-serve-awq-c10.txt" in out


def test_a_baseline_of_another_load_is_told(command: Command) -> None:
    code, out, err = command("import", SAMPLES / "vllm-bench-serve-nvfp4-c1.txt", AWQ, *PLACE)
    assert code == 0
    assert "skip (different_load)" in out
    assert err == "vllm-bench-serve-awq-c10.txt: no NVFP4 run is of the same load; not used\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("none-nvfp4.txt",), "none-nvfp4.txt: No such file or directory"),
        ((".",), ".: Is a directory"),
        (("a\nb.txt", NVFP4), "its name says neither"),
        ((NVFP4, "--target", "sm122"), "unknown target 'sm122'; did you mean"),
        ((NVFP4, "--target", "sm100"), "sm100 exists with x86_64 and aarch64: say which"),
        ((NVFP4, "--machine", "x86_64"), "sm121 exists with aarch64 only"),
        ((NVFP4, "--stack", " "), "--stack: the name is empty"),
        ((NVFP4, "--stack", "a\x1b[31m"), "--stack: the name has characters that cannot be seen"),
        ((AWQ,), "no file is of an NVFP4 run: name one as native=FILE"),
        ((NVFP4, "--results", NVFP4), "vllm-bench-serve-nvfp4-c10.txt/import-"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_kept(
    command: Command, arguments: tuple[object, ...], told: str
) -> None:
    kept = () if "--results" in arguments else ("--results", "r")
    code, out, err = command("import", *PLACE, *kept, *arguments)
    assert code in (2, 3)
    assert (out, err.count("\n")) == ("", 1)
    assert told in err
    assert not Path("r").exists()


def test_hostile_text_is_harmless(command: Command) -> None:
    raw = NVFP4.read_bytes().replace(b"35.58", b"\x9b31m\xff\x1b]0;x\x07\xe2\x80\xae35")
    name = "\x1b[31m-nvfp4-\u202e.txt"
    Path(name).write_bytes(raw)
    code, out, _ = command("import", name, *PLACE, "--results", "r")
    assert code == 0
    assert "error (unreadable_number)" in out
    shown = command("show", "--results", "r", "--stack", STACK)[1]
    for text in (out, shown):
        assert not {"\x1b", "\x9b", "\u202e", "\x07"} & set(text)


def test_damage_in_the_results_is_told_and_the_rest_shown(command: Command) -> None:
    command("import", *FILES, *PLACE, "--results", "r")
    (file,) = Path("r").iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    code, out, err = command("show", "--results", "r", "--stack", STACK)
    assert code == 0
    assert err == f"{file}:2: left out: the line is cut\n"
    assert "slow" in out


def test_a_folder_that_was_named_has_to_be_there(command: Command) -> None:
    code, out, err = command("show", "--results", "none")
    assert (code, out, err) == (2, "", "nvfp4-matrix: --results none: is no folder\n")


def test_what_only_results_tell_is_no_reason_to_choose_pins(command: Command) -> None:
    command("import", *FILES, *PLACE)
    assert "--need serve" not in command("show", "--stack", STACK)[1]
    code, out, _ = command("pins", "--target", "sm121", "--need", "serve", "--json")
    assert code == 1
    assert json.loads(out)["newest"] is None


def test_a_large_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """64 MB of one line and of many, in a process that may have little more than its interpreter."""
    many = tmp_path / "many-nvfp4.log"
    with many.open("wb") as file:
        for _ in range(64):
            file.write(b"INFO something happened\n" * 22_000 + b"x" * 500_000)
        file.write(b"\n" + NVFP4.read_bytes())

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (160 << 20, 160 << 20))

    code = "from reports.cli import main; main()"
    told = subprocess.run(
        [sys.executable, "-c", code, "import", str(many), *PLACE, "--json", "--results", "r"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert json.loads(told.stdout)["metrics"]["output_throughput"]["value"] == 35.58
