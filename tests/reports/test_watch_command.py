from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from images.locks import Ask
from matrix.configuration import Configuration
from matrix.errors import ConfigurationError, OutsideError
from matrix.evidence.lockfile import Lock
from matrix.upstream import UpstreamFile
from reports import repin
from reports.cli import main
from tests.matrix.evidence.test_clone import FIX, Repo, served
from tests.matrix.test_schemas import refused_when_planted


class Told(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Told]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("NVFP4_MATRIX_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "NVFP4_MATRIX_APP_ID"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["nvfp4-matrix", "watch", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return Told(code, told.out, told.err)

    return command


@pytest.fixture
def vllm(tmp_path: Path) -> Repo:
    """Stand for vLLM around 0.12.0: one change that the ledger sees, picked into an older release, and one it does not."""
    repo = Repo(tmp_path / "vllm")
    for version in ("0.10.2", "0.11.1"):
        repo.commit(f"Release {version}")
        repo.tag(f"v{version}")
    base = repo.git("rev-parse", "HEAD")
    merged = repo.commit("Choose when it runs (#29711)", FIX)
    repo.tag("v0.12.0")
    repo.commit("Take the Spark for one of the family (#35568)")
    repo.tag("v0.13.0rc1")
    repo.tag("v0.13.0")
    repo.on("releases/v0.11.2", base)
    repo.pick(merged, "Hotfix of the choice")
    repo.tag("v0.11.2")
    repo.on("main")
    return repo


def test_a_change_is_told_with_its_releases_and_what_the_evidence_did(run: Run, vllm: Repo) -> None:
    told = run("--clone", f"vllm-project/vllm={vllm.folder}", "vllm#29711")
    assert (told.code, told.err) == (0, "")
    lines = told.out.splitlines()
    assert lines[0] == "1 watched: 1 merged"
    assert lines[2].startswith("vllm#29711  merged, in 0.11.2")
    assert "    releases with it: 0.11.2 and later" in lines
    assert any(
        line.startswith("    picked: ") and line.endswith("on releases/v0.11.2, by its patch")
        for line in lines
    )
    assert any(" have it (vllm==0.11.2 to vllm==0.13.0)" in line for line in lines)


def test_the_evidence_is_of_the_releases_on_either_side(run: Run, vllm: Repo) -> None:
    vllm.git("tag", "-d", "v0.11.2")
    vllm.git("branch", "-D", "releases/v0.11.2")
    vllm.git("tag", "v0.11.2", "v0.11.1")
    told = json.loads(
        run("--clone", f"vllm-project/vllm={vllm.folder}", "vllm#29711", "--json").out
    )
    (one,) = told["watched"]
    assert (one["state"], one["first_release"], one["evidence"]) == ("merged", "0.12.0", "changed")
    assert (one["before"], one["after"]) == (
        ["vllm 0.11.2", "vllm==0.11.2"],
        ["vllm 0.12.0", "vllm==0.12.0"],
    )
    (change,) = (
        each
        for each in one["changes"]
        if each["lamp"] == "verdict" and "slim" in each["environments"]
    )
    assert (change["target"], change["before"], change["after"]) == ("sm120", "broken", "likely")


def test_a_released_change_that_the_evidence_does_not_show_is_called_out(
    run: Run, vllm: Repo
) -> None:
    told = run("--clone", f"vllm-project/vllm={vllm.folder}", "vllm#35568")
    assert "vllm#35568  merged, in 0.13.0, our evidence did not change" in told.out
    assert "Released, and our evidence did not change: vllm#35568" in told.out


def test_what_was_not_read_or_found_is_unknown(run: Run, vllm: Repo) -> None:
    told = json.loads(run("--clone", f"vllm-project/vllm={vllm.folder}", "--json").out)
    by_name = {one["watch"]: one for one in told["watched"]}
    assert by_name["vllm#35947"]["state"] == "unknown"
    assert by_name["vllm#35947"]["notes"] == []
    assert by_name["flashinfer#2650"]["state"] == "unknown"
    assert by_name["flashinfer#2650"]["notes"] == ["its history was not read"]
    assert [source["repository"] for source in told["sources"]] == ["vllm-project/vllm"]


def test_what_it_prints_as_json_is_by_its_schema(run: Run, vllm: Repo) -> None:
    told = run("--clone", f"vllm-project/vllm={vllm.folder}", "--json")
    refused_when_planted("watch", json.loads(told.out))


def test_it_prints_markdown_that_refers_to_no_thread(run: Run, vllm: Repo) -> None:
    told = run("--clone", f"vllm-project/vllm={vllm.folder}", "--markdown", "vllm#29711")
    assert told.out.startswith("## Watched upstream\n\n1 watched: 1 merged.\n")
    assert "| merged | `0.11.2` | unknown | unknown | our evidence did not change |" in told.out
    assert "#2" not in told.out


def test_two_clones_are_told_apart_by_their_remotes(run: Run, vllm: Repo, tmp_path: Path) -> None:
    other = Repo(tmp_path / "flashinfer")
    other.commit("Enable the family (#2650)")
    vllm.git("remote", "add", "origin", "https://github.com/vllm-project/vllm")
    other.git("remote", "add", "upstream", "git@github.com:flashinfer-ai/flashinfer.git")
    told = run(
        "--clone",
        str(vllm.folder),
        "--clone",
        str(other.folder),
        "--json",
        "vllm#29711",
        "flashinfer#2650",
    )
    states = {one["watch"]: one["state"] for one in json.loads(told.out)["watched"]}
    assert states == {"vllm#29711": "merged", "flashinfer#2650": "merged"}


def test_a_release_without_a_tag_is_named_by_its_commit(
    run: Run, vllm: Repo, tmp_path: Path
) -> None:
    """A clone of the main branch alone still tells, where somebody says which commit a wheel is of."""
    commits = {v: vllm.git("rev-parse", f"v{v}^{{commit}}") for v in ("0.11.1", "0.12.0", "0.13.0")}
    vllm.git("branch", "elsewhere", "v0.13.0")
    for name in vllm.git("tag").split():
        vllm.git("tag", "-d", name)
    vllm.git("branch", "-D", "releases/v0.11.2")
    vllm.git("reset", "--quiet", "--hard", "HEAD~1")
    (tmp_path / "builds").write_text(
        "".join(f"vllm=={version} {commit[:9]}\n" for version, commit in commits.items())
        + "vllm==0.14.0 0123456\n"
    )
    told = run(
        *("--clone", f"vllm-project/vllm={vllm.folder}", "--builds"),
        *(f"vllm-project/vllm={tmp_path / 'builds'}", "--json", "vllm#29711"),
    )
    (one,) = json.loads(told.out)["watched"]
    assert (one["first_release"], one["at_latest"]) == (
        "0.12.0",
        True,
    )  # 0.11.2 is published, and not known
    assert one["has"] == ["0.12.0", "0.13.0"]


def test_builds_name_the_first_nightly_and_image(run: Run, vllm: Repo, tmp_path: Path) -> None:
    (tmp_path / "builds").write_text(
        f"0.11.1.dev1+g{vllm.git('rev-parse', 'v0.11.1')[:9]}\n"
        f"0.12.0.dev2+g{vllm.git('rev-parse', 'v0.12.0')[:9]}\n"
        "vllm/vllm-openai:v0.11.1\nvllm/vllm-openai:v0.12.0\n"
    )
    told = run(
        *("--clone", f"vllm-project/vllm={vllm.folder}", "--builds"),
        *(f"vllm-project/vllm={tmp_path / 'builds'}", "--json", "vllm#29711"),
    )
    (one,) = json.loads(told.out)["watched"]
    assert one["first_nightly"].startswith("0.12.0.dev2+g")
    assert one["first_image"] == "vllm/vllm-openai:v0.12.0"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--clone", "{folder}/nowhere"], "no such folder"),
        (["--clone", "{folder}"], "is no git repository"),
        (["--clone", "{folder}/vllm"], "none of its remotes is no watched repository; say which: --clone vllm-project/vllm="),
        (["--clone", "vllm-project/vlm={folder}/vllm"], "vllm-project/vlm is no watched repository"),
        (["--clone", "vllm-project/vllm={folder}/vllm", "--clone", "vllm-project/vllm={folder}/vllm"], "was given already"),
        (["vllm#2971"], "nothing is watched as 'vllm#2971'; did you mean vllm#29711?"),
        (["--builds", "vllm-project/vllm={folder}/nowhere"], "cannot be read"),
        (["--builds", "nowhere"], "is no OWNER/NAME=FILE"),
        (["--clone", ""], "--clone takes PATH"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(
    run: Run, vllm: Repo, tmp_path: Path, arguments: list[str], words: str
) -> None:
    del vllm
    told = run(*(each.format(folder=tmp_path) for each in arguments))
    assert (told.code, told.out) == (2, "")
    assert told.err.count("\n") == 1
    assert words in told.err


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let vLLM's repository be somewhere else."""
    real = Configuration().watched

    def at(url: str) -> None:
        def moved(_: Any) -> UpstreamFile:
            import msgspec  # noqa: PLC0415 - of this test alone

            repositories = tuple(
                msgspec.structs.replace(one, url=url)
                if one.repository == "vllm-project/vllm"
                else one
                for one in real.repositories
            )
            return msgspec.structs.replace(real, repositories=repositories)

        monkeypatch.setattr(Configuration, "watched", property(moved))

    return at


def test_without_a_clone_one_is_made_in_the_cache_and_kept(
    run: Run, vllm: Repo, tmp_path: Path, remote: Callable[[str], None]
) -> None:
    remote(served(vllm))
    told = run("vllm#29711")
    assert (told.code, told.err) == (0, "")
    assert "vllm#29711  merged, in 0.11.2" in told.out
    assert ", by its patch" in told.out
    kept = tmp_path / "cache" / "nvfp4-matrix" / "clones" / "vllm-project+vllm.git"
    assert (kept / "HEAD").is_file()
    vllm.folder.rename(tmp_path / "gone")
    told = run("vllm#29711")
    assert told.code == 3
    assert "vllm-project/vllm: not brought up to date" in told.err
    assert "vllm#29711  merged, in 0.11.2" in told.out


def test_a_remote_that_is_not_there_is_told_and_what_it_is_of_unknown(
    run: Run, tmp_path: Path, remote: Callable[[str], None]
) -> None:
    remote(f"file://{tmp_path}/nowhere")
    told = run("vllm#29711")
    assert told.code == 3
    assert told.err.count("\n") == 1
    assert "vllm-project/vllm: cannot be cloned" in told.err
    assert "vllm#29711  unknown" in told.out


def test_without_git_it_says_so(vllm: Repo, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from reports.cli import main; main()",
        "watch",
        "--clone",
        str(vllm.folder),
    ]
    told = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": str(tmp_path)},
    )
    assert (told.returncode, told.stdout) == (3, "")
    assert (
        told.stderr == "nvfp4-matrix: git is not installed; install it to read upstream's history\n"
    )


STACKS = """\
# Stacks of this desk. Schema: schema/stacks.schema.json
as_released: []
written:
  - name: desk   # mine
    pins:
      vllm: 0.11.1  # from the spring
"""


@pytest.fixture
def desk(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "desk")
    name = "images/kept/locks/desk-slim-x86_64-cp312.txt"
    repo.commit(
        "Stacks",
        {
            "matrix/stacks.yaml": STACKS,
            name: "vllm==0.11.1\n",
            "images/kept/locks/other.txt": "x\n",
        },
    )
    return repo


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> list[Ask]:
    """Stand for the index, which a lock is resolved with."""
    asked: list[Ask] = []

    def resolved(ask: Ask) -> Lock:
        asked.append(ask)
        return Lock(text="vllm==0.13.0 --hash=sha256:0\n", glibc="2.28")

    monkeypatch.setattr(repin, "resolved", resolved)
    return asked


def test_a_pin_that_lacks_what_is_in_is_proposed_on_a_branch_of_its_own(
    run: Run, vllm: Repo, desk: Repo, resolver: list[Ask]
) -> None:
    clone = (
        "--clone",
        f"vllm-project/vllm={vllm.folder}",
        "--open-prs",
        "--checkout",
        str(desk.folder),
    )
    dry = run(*clone, "--dry-run")
    assert dry.code == 0
    assert "branch nvfp4-matrix/desk-vllm-0.13.0\n" in dry.out
    assert "+      vllm: 0.13.0  # from the spring\n" in dry.out
    assert desk.git("branch", "--format=%(refname:short)") == "main"
    told = run(*clone)
    assert (told.code, told.err) == (0, "")
    assert "nvfp4-matrix/desk-vllm-0.13.0: committed as " in told.out
    branch = "nvfp4-matrix/desk-vllm-0.13.0"
    assert (
        desk.git("show", f"{branch}:matrix/stacks.yaml")
        == STACKS.replace("0.11.1", "0.13.0").strip()
    )
    lock = desk.git("show", f"{branch}:images/kept/locks/desk-slim-x86_64-cp312.txt")
    assert lock.endswith("vllm==0.13.0 --hash=sha256:0")
    assert [(ask.machine, ask.python, ask.environment) for ask in resolver] == [
        ("x86_64", "3.12", "slim")
    ] * 2
    message = desk.git("log", "-1", "--format=%B", branch)
    assert message.startswith("desk: vllm 0.13.0, which has vllm 29711, vllm 35568\n")
    assert "| gemm | verdict |" in message
    assert "The lock desk-slim-x86\\_64-cp312.txt is renewed." in message
    assert "stands as it is" in run(*clone).out


@pytest.mark.usefixtures("resolver")
def test_a_proposal_that_is_refused_is_told_and_the_command_says_so(
    run: Run, vllm: Repo, desk: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def commit(*_: object) -> str:
        raise ConfigurationError("the branch has somebody else's commit")

    monkeypatch.setattr("matrix.evidence.checkout.Checkout.commit", commit)
    told = run(
        *("--clone", f"vllm-project/vllm={vllm.folder}", "--open-prs"),
        *("--checkout", str(desk.folder)),
    )
    assert told.code == 2
    said = "nvfp4-matrix: nvfp4-matrix/desk-vllm-0.13.0: the branch has somebody else's commit\n"
    assert told.err == said
    assert "Push a branch" in told.out, "what comes after it is told all the same"


def test_a_lock_that_cannot_be_renewed_is_told(
    run: Run, vllm: Repo, desk: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolved(_: Ask) -> Lock:
        raise OutsideError("the index https://me:hunter2@index.example is away")

    monkeypatch.setattr(repin, "resolved", resolved)
    told = run(
        *("--clone", f"vllm-project/vllm={vllm.folder}", "--open-prs", "--dry-run"),
        *("--checkout", str(desk.folder)),
    )
    assert told.code == 0
    assert "could not be renewed, and answers no more: the index https" in told.out
    assert "hunter2" not in told.out


def test_where_nothing_lacks_anything_nothing_is_proposed(run: Run, vllm: Repo, desk: Repo) -> None:
    desk.commit("Newer", {"matrix/stacks.yaml": STACKS.replace("0.11.1", "0.13.0")})
    told = run(
        *(
            "--clone",
            f"vllm-project/vllm={vllm.folder}",
            "--open-prs",
            "--checkout",
            str(desk.folder),
        )
    )
    assert "No pin to propose" in told.out
    assert desk.git("branch", "--format=%(refname:short)") == "main"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dry-run"], "--dry-run goes with --open-prs"),
        (["--repository", "a/b"], "--repository goes with --open-prs"),
        (["--open-prs", "--json"], "leave --open-prs and --markdown out"),
        (["--open-prs", "--checkout", "{folder}/nowhere"], "no such folder"),
        (
            ["--open-prs", "--checkout", "{folder}/vllm"],
            "has no matrix/stacks.yaml; name the file with --stacks-file",
        ),
    ],
)
def test_a_proposal_without_its_place_is_one_line(
    run: Run, vllm: Repo, tmp_path: Path, arguments: list[str], words: str
) -> None:
    given = [each.format(folder=tmp_path) for each in arguments]
    told = run("--clone", f"vllm-project/vllm={vllm.folder}", *given)
    assert told.code == 2
    assert told.err.count("\n") == 1
    assert words in told.err
