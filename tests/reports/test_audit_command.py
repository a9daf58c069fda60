from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrix.configuration import Configuration
from matrix.ledger import Ledger
from matrix.vocabulary import Answer, Compiled

if TYPE_CHECKING:
    from tests.conftest import Command, MakeWheel, Shelf

LINUX = "cp38-abi3-manylinux_2_31_x86_64"


@pytest.fixture
def vllm(make_wheel: MakeWheel) -> Path:
    return make_wheel("vllm", "0.33.0", {"vllm/a.py": b"x = 1\n"}, tag=LINUX)


@pytest.fixture
def filled(shelf: Shelf, vllm: Path, command: Command, tmp_path: Path) -> Path:
    """A ledger that holds the wheel."""
    shelf.add(vllm)
    assert command("refresh", "--ledger", tmp_path / "ledger")[0] == 0
    shelf.asked.clear()
    return tmp_path / "ledger"


def test_a_release_in_the_ledger_is_told_from_there(
    shelf: Shelf, filled: Path, command: Command
) -> None:
    measured = Ledger(filled).read()[0].measured
    code, out, err = command("audit", "vLLM == 0.33", "--ledger", filled, "--json")
    assert code == 0
    assert json.loads(out)["filename"] == f"vllm-0.33.0-{LINUX}.whl"
    assert err == f"from the ledger, measured {measured}; --no-ledger reads again\n"
    assert shelf.asked == []


def test_no_ledger_reads_again_and_finds_the_same(
    shelf: Shelf, filled: Path, command: Command
) -> None:
    _, held, _ = command("audit", "vllm==0.33.0", "--ledger", filled, "--json")
    code, out, err = command("audit", "vllm==0.33.0", "--ledger", filled, "--json", "--no-ledger")
    assert (code, out, err) == (0, held, "")
    assert shelf.fetched() == [f"vllm-0.33.0-{LINUX}.whl"]


def test_a_record_by_other_rules_is_no_answer(shelf: Shelf, filled: Path, command: Command) -> None:
    path = next(filled.glob("vllm/*.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "rules": "0" * 16}))
    code, _, err = command("audit", "vllm==0.33.0", "--ledger", filled)
    assert code == 0
    assert err == "the ledger's record is from before a change of the data; reading again\n"
    assert shelf.fetched() == [f"vllm-0.33.0-{LINUX}.whl"]


def test_an_audit_writes_nothing_into_the_ledger(
    shelf: Shelf, vllm: Path, command: Command, tmp_path: Path
) -> None:
    shelf.add(vllm)
    ledger = tmp_path / "ledger"
    assert command("audit", "vllm==0.33.0", "--ledger", ledger)[0] == 2
    ledger.mkdir()
    assert command("audit", "vllm==0.33.0", "--ledger", ledger)[0] == 0
    assert list(ledger.iterdir()) == []


def test_json_has_every_capability_on_every_target(
    shelf: Shelf, vllm: Path, command: Command
) -> None:
    shelf.add(vllm)
    told = json.loads(command("audit", "vllm==0.33.0", "--no-ledger", "--json")[1])
    content = vllm.read_bytes()
    assert {key: told[key] for key in told if key not in ("capabilities", "bytes_fetched")} == {
        "package": "vllm",
        "version": "0.33.0",
        "machine": "x86_64",
        "filename": vllm.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes_total": len(content),
    }
    assert 0 < told["bytes_fetched"] <= 2 * len(content)
    configuration = Configuration()
    names = [capability.name for capability in configuration.capabilities.readable]
    assert list(told["capabilities"]) == names
    for targets in told["capabilities"].values():
        assert list(targets) == [target.name for target in configuration.targets]
        assert len(targets) == 6
        for state in targets.values():
            assert set(state) == {
                "compiled",
                "declared",
                "claims",
                "images",
                "kernels",
                "needs",
                "pieces",
            }
            assert state["compiled"] in Compiled.__args__  # type: ignore[attr-defined]
            assert state["declared"] in Answer.__args__  # type: ignore[attr-defined]


def test_a_wheel_reads_alike_from_index_url_disk_folder_and_file_url(
    shelf: Shelf, vllm: Path, command: Command
) -> None:
    sha256 = hashlib.sha256(vllm.read_bytes()).hexdigest()
    url = shelf.add(vllm)
    places: list[tuple[object, ...]] = [
        ("vllm==0.33.0", "--no-ledger"),
        (f"{url}#sha256={sha256}",),
        (vllm,),
        (vllm.as_uri(),),
        ("vllm==0.33.0", "--find", vllm.parent),
    ]
    told = []
    for place in places:
        code, out, err = command("audit", *place, "--json")
        assert (code, err) == (0, "")
        told.append({**json.loads(out), "bytes_fetched": 0})
    assert told[0]["sha256"] == sha256
    assert all(each == told[0] for each in told)


def test_a_url_without_a_hash_has_none_to_tell(shelf: Shelf, vllm: Path, command: Command) -> None:
    assert json.loads(command("audit", shelf.add(vllm), "--json")[1])["sha256"] == ""


def test_credentials_in_a_url_are_sent_and_never_told(
    shelf: Shelf, vllm: Path, command: Command
) -> None:
    url = shelf.add(vllm).replace("//", "//user:secret@")
    told = command("audit", url)
    assert told[0] == 0
    told = command("audit", url.replace("vllm-0.33.0", "vllm-0.34.0"))
    assert told[0] == 3
    assert "secret" not in told[2]
    assert "answers 404" in told[2]


def install(wheel: Path, environment: Path) -> Path:
    folder = environment / "lib/python3.12/site-packages"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def test_an_installed_package_is_read_by_environment_and_by_folder(
    shelf: Shelf, vllm: Path, command: Command, tmp_path: Path
) -> None:
    folder = install(vllm, tmp_path / "venv")
    from_wheel = json.loads(command("audit", vllm, "--json")[1])
    for place in (folder, tmp_path / "venv"):
        code, out, err = command("audit", "vllm", "--python", place, "--json")
        assert (code, err) == (0, "")
        told = json.loads(out)
        assert told["capabilities"] == from_wheel["capabilities"]
        assert (told["version"], told["machine"], told["sha256"]) == ("0.33.0", "x86_64", "")
        assert told["bytes_fetched"] == 0
    assert shelf.asked == []


def test_an_interpreter_is_asked_where_its_packages_are(command: Command) -> None:
    code, out, _ = command("audit", "pluggy", "--python", sys.executable, "--json")
    assert (code, json.loads(out)["package"]) == (0, "pluggy")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("vllm==0.32.0", "--python", "VENV"), "vllm 0.33.0 is installed in "),
        (("torch", "--python", "VENV"), "torch is not installed in "),
        (("vllm", "--python", "VENV", "--machine", "aarch64"), "is for x86_64, not for aarch64"),
        (("vllm", "--python", "/no/such"), "/no/such: no such file or folder"),
        (("vllm", "--python", "WHEEL"), "cannot be run as a Python interpreter"),
        (("vllm", "--python", "VENV", "--find", "."), "name one of them"),
        (("WHEEL", "--find", "."), "--find takes PACKAGE==VERSION beside it"),
        (("WHEEL", "--machine", "aarch64"), "is for x86_64, not for aarch64"),
        (("vllm==0.33.0", "--find", "/no/such"), "/no/such: No such file or directory"),
        (("vllm==0.34.0", "--find", "FOLDER"), "vllm 0.34.0 is not there; the nearest: 0.33.0"),
        (("vllm==new",), "'new' is no version"),
        (("../vllm==1",), "'../vllm' is no name of a package"),
        (("no.whl",), "no.whl is no name of a wheel"),
        (("/no/vllm-1.0-py3-none-any.whl",), "/no/vllm-1.0-py3-none-any.whl: no such file"),
        (("ftp://host/vllm-1.0-py3-none-any.whl",), "is no http, https or file URL"),
        (("https://[host/vllm-1.0-py3-none-any.whl",), "the URL cannot be read"),
        (("https://u:secret@[h/vllm-1.0-py3-none-any.whl",), "the URL cannot be read"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line_and_exit_2(
    vllm: Path, command: Command, tmp_path: Path, arguments: tuple[str, ...], problem: str
) -> None:
    install(vllm, tmp_path / "venv")
    place = {"VENV": tmp_path / "venv", "WHEEL": vllm, "FOLDER": vllm.parent}
    code, out, err = command("audit", *(place.get(each, each) for each in arguments))
    assert (code, out) == (2, "")
    assert problem in err
    assert err.count("\n") == 1
    assert "secret" not in err


@pytest.mark.parametrize("asked", [("audit", "vllm==0.33.0"), ("refresh", "--list")])
def test_a_ledger_that_is_a_file_is_refused(
    shelf: Shelf, vllm: Path, command: Command, asked: tuple[str, ...]
) -> None:
    code, out, err = command(*asked, "--ledger", vllm)
    assert (code, out) == (2, "")
    assert f"Directory '{vllm}' is a file." in " ".join(err.split())
    assert shelf.asked == []


@pytest.mark.parametrize("name", ["audit", "refresh"])
def test_the_help_fits_a_terminal(command: Command, name: str) -> None:
    code, out, _ = command(name, "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80


def test_code_that_is_made_at_run_time_says_which_toolkit_each_target_needs(
    command: Command,
) -> None:
    code, out, _ = command("audit", "flashinfer-python==0.7.2.post1", "--json")
    gemm = json.loads(out)["capabilities"]["gemm"]
    assert code == 0
    assert {name: gemm[name]["needs"] for name in ("sm100", "sm103", "sm110", "sm121")} == {
        "sm100": ["nvcc 12.8"],
        "sm103": ["nvcc 12.9"],
        "sm110": ["nvcc 13.0"],
        "sm121": ["nvcc 12.9"],
    }
    assert gemm["sm121"]["compiled"] == "jit"
    assert (gemm["sm90"]["compiled"], gemm["sm90"]["needs"]) == ("no", [])


def test_claims_are_told_for_each_backend_by_itself(command: Command) -> None:
    code, out, _ = command("audit", "flashinfer-python==0.7.2.post1", "--claims")
    assert code == 0
    (line,) = (line for line in out.splitlines() if line.startswith("  flashinfer.mm-fp4-trtllm "))
    assert line.split() == ["flashinfer.mm-fp4-trtllm", "yes", "yes", "no", "no", "no", "no"]
    code, out, _ = command("audit", "vllm==0.33.0", "--claims")
    (line,) = (
        each for each in out.splitlines() if each.startswith("  vllm.flashinfer-cutlass-dense ")
    )
    assert line.split()[1:] == ["devel", "devel", "devel", "devel", "devel", "no"]
    _, out, _ = command("audit", "vllm==0.33.0", "--json")
    gemm = json.loads(out)["capabilities"]["gemm"]
    said = gemm["sm121"]["claims"]["vllm.flashinfer-cutlass-dense"]
    assert said == {"slim": "no", "devel": "yes"}
