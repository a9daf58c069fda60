from __future__ import annotations

import json
from pathlib import Path

import pytest

from matrix.configuration import HERE
from matrix.errors import ConfigurationError
from matrix.knowledge import Knowledge
from reports.github.credential import App, Token, credential
from reports.github.job import job, repository
from reports.github.request import Repository
from reports.github.stackfile import lines

HEAD = "b" * 40
RUN = {
    "GITHUB_REPOSITORY": "me/rigs",
    "GITHUB_SHA": "a" * 40,
    "GITHUB_REF": "refs/heads/main",
    "GITHUB_RUN_ID": "77",
    "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_API_URL": "https://github.example/api/v3",
}


def test_a_job_knows_where_it_runs() -> None:
    here = job(RUN)
    assert here.repository == Repository(owner="me", name="rigs")
    assert (here.commit, here.pull) == ("a" * 40, None)
    assert here.link == "https://github.example/me/rigs/actions/runs/77"
    assert here.api == "https://github.example/api/v3"


def test_a_pull_request_is_told_by_its_head_not_by_the_merge(tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"head": {"sha": HEAD}}}))
    here = job({**RUN, "GITHUB_REF": "refs/pull/12/merge", "GITHUB_EVENT_PATH": str(event)})
    assert (here.commit, here.pull) == (HEAD, 12)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"pull_request": 3}', '{"pull_request": {"head": 1}}']
)
def test_an_odd_event_is_none(tmp_path: Path, content: str) -> None:
    event = tmp_path / "event.json"
    event.write_text(content)
    assert job({**RUN, "GITHUB_EVENT_PATH": str(event)}).commit == "a" * 40


@pytest.mark.parametrize(
    ("event", "commit", "pull"),
    [
        ({"pull_request": {"number": 9, "head": {"sha": HEAD}}}, HEAD, 9),
        ({"workflow_run": {"head_sha": HEAD}}, HEAD, None),
        ({"issue": {"number": 4}}, "a" * 40, None),
    ],
)
def test_events_that_run_on_the_default_branch_tell_whom_they_are_about(
    tmp_path: Path, event: object, commit: str, pull: int | None
) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event))
    here = job({**RUN, "GITHUB_EVENT_PATH": str(file)})
    assert (here.commit, here.pull) == (commit, pull)


def test_outside_of_a_job_nothing_is_known() -> None:
    here = job({})
    assert (here.repository, here.commit, here.pull, here.link, here.summary) == (
        None,
        "",
        None,
        "",
        None,
    )


@pytest.mark.parametrize(
    "text", ["rigs", "me/", "me/..", "me/rigs/x", "https://github.com/me/rigs", "me/ri gs", "-a/b"]
)
def test_a_repository_is_written_owner_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="owner/name"):
        repository(text)


def test_every_part_of_a_path_is_quoted() -> None:
    assert (
        repository("me/rigs").path("branches", "a/b?c", q="x&y")
        == "/repos/me/rigs/branches/a%2Fb%3Fc?q=x%26y"
    )


def test_an_app_goes_before_a_token() -> None:
    held = {"GITHUB_TOKEN": "made-up", "NVFP4_MATRIX_APP_ID": "4711",
            "NVFP4_MATRIX_APP_PRIVATE_KEY": "-----BEGIN RSA PRIVATE KEY-----\\nx\\n-----END"}  # fmt: skip
    who = credential(held)
    assert isinstance(who, App)
    assert "\n" in who.key
    assert "BEGIN" not in repr(who)


@pytest.mark.parametrize("name", ["NVFP4_MATRIX_TOKEN", "GITHUB_TOKEN", "GH_TOKEN"])
def test_a_token_is_read_and_not_shown(name: str) -> None:
    who = credential({name: " made-up-token \n"})
    assert who == Token(token="made-up-token")
    assert "made-up" not in repr(who)


def test_nobody_is_nobody() -> None:
    assert credential({"GITHUB_TOKEN": ""}) is None


def test_an_app_without_a_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="must hold the app's PEM key"):
        credential({"NVFP4_MATRIX_APP_ID": "1"})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        credential(
            {"NVFP4_MATRIX_APP_ID": "1", "NVFP4_MATRIX_APP_PRIVATE_KEY_FILE": str(tmp_path / "no")}
        )


STACKS = """\
# a comment
as_released:
  - range: vllm>=0.8.5,<0.10.1
    note: x
  - range: vllm>=0.10.1
    extras: [b12x]
written:
  - pins:
      vllm: 0.25.1
    name: by-hand
"""


def test_a_stack_is_found_on_its_line() -> None:
    names = [
        "vllm==0.9.0",
        "vllm==0.33.0",
        "vllm[b12x]==0.28.0",
        "by-hand",
        "torch==2.1",
        "declared by a result",
        "!",
    ]
    assert lines(STACKS, names) == {
        "vllm==0.9.0": 3, "vllm==0.33.0": 5, "vllm[b12x]==0.28.0": 5, "by-hand": 10,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "[", "- a", "x: 3", "written: [{name: [a]}]", "written:\n  - name: ["]
)
def test_a_file_that_is_none_has_no_lines(text: str) -> None:
    assert lines(text, ["vllm==0.9.0"]) == {}


def test_every_stack_of_the_project_has_a_line() -> None:
    names = [stack.name for stack in Knowledge.load().stacks]
    assert set(lines((HERE / "stacks.yaml").read_text(), names)) == set(names)
