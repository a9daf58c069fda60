from __future__ import annotations

import json
import re

import jsonschema
import msgspec
import pytest

from matrix.cell import Cell, Report
from matrix.schemas import path
from reports.github import pages
from reports.github.badge import COLOURS, badges
from reports.github.required import judge
from reports.github.state import pack, state

SHIELDS = {
    "type": "object",
    "required": ["schemaVersion", "label", "message"],
    "additionalProperties": False,
    "properties": {
        "schemaVersion": {"const": 1},
        "label": {"type": "string"},
        "message": {"type": "string", "minLength": 1},
        "color": {"type": "string"},
        "labelColor": {"type": "string"},
        "isError": {"type": "boolean"},
        "namedLogo": {"type": "string"},
        "cacheSeconds": {"type": "integer"},
        "style": {"type": "string"},
    },
}
"""The endpoint badge's schema, as shields.io documents it."""


def test_badges_are_what_shields_reads(small: Report) -> None:
    made = badges(small)
    assert set(made) == {f"{c}-{t.name}.json" for c in ("gemm", "moe") for t in small.targets}
    for text in made.values():
        jsonschema.validate(json.loads(text), SHIELDS)


def test_a_badge_tells_the_newest_stack_and_the_worse_machine(small: Report) -> None:
    def worse(cell: Cell) -> Cell:
        mine = (cell.stack, cell.target, cell.machine, cell.environment) == (
            "vllm==0.33.0",
            "sm100",
            "aarch64",
            "slim",
        )
        return msgspec.structs.replace(cell, verdict="broken") if mine else cell

    changed = msgspec.structs.replace(small, cells=tuple(worse(cell) for cell in small.cells))
    badge = json.loads(badges(changed)["gemm-sm100.json"])
    assert badge["message"] == "broken (vllm==0.33.0)"
    assert badge["color"] == COLOURS["broken"]
    assert json.loads(badges(small)["gemm-sm100.json"])["message"] == "likely (vllm==0.33.0)"


@pytest.mark.parametrize("name", ["../../etc/passwd", ".hidden", "a b/c", "", "\u202e"])
def test_a_badges_name_stays_in_its_folder(small: Report, name: str) -> None:
    cells = tuple(msgspec.structs.replace(cell, capability=name) for cell in small.cells)
    for file in badges(msgspec.structs.replace(small, cells=cells)):
        assert re.fullmatch(r"[0-9A-Za-z_-][0-9A-Za-z_.-]*", file)


def test_the_json_is_a_report_without_evidence(small: Report) -> None:
    text = pages.matrix_json(small)
    schema = json.loads(path("show").read_text())
    jsonschema.validate(json.loads(text), schema)
    again = msgspec.json.decode(text, type=Report)
    assert again.contradictions == small.contradictions
    assert not any(cell.evidence for cell in again.cells)


def test_what_was_posted_last_is_read_back(small: Report) -> None:
    held = pack(state(small), small.generated)
    files = pages.files(small, page="<p>", hash_="h", state=held)
    standing = pages.read(files["state.json"].encode())
    assert (standing.hash, standing.at, standing.state) == ("h", small.generated, held)
    assert set(standing.files) == set(files)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"hash": 3}', b'{"of another release": 1}']
)
def test_a_damaged_state_is_none(content: bytes) -> None:
    assert pages.read(content) == pages.Standing()


@pytest.mark.parametrize(
    ("capabilities", "stacks", "conclusion", "sentence"),
    [
        ([], ["vllm==0.33.0"], "neutral", "nothing is required"),
        (["gemm"], ["vllm==0.33.0"], "failure", "gemm: 6 of 9 required cells work, 2 do not, 1 not known"),
        (["gemm"], ["vllm==9"], "neutral", "gemm: no such cell"),
        (["serve"], ["vllm==0.33.0"], "neutral", "serve: no such cell"),
        (["gemm", "serve"], ["vllm==0.33.0"], "failure", "gemm, serve: 6 of 9 required cells work, 2 do not, 1 not known, no cell of serve"),
    ],
)  # fmt: skip
def test_what_is_required_concludes(
    small: Report, capabilities: list[str], stacks: list[str], conclusion: str, sentence: str
) -> None:
    required = judge(small, capabilities, stacks, ["slim"])
    assert (required.conclusion, required.sentence) == (conclusion, sentence)


def test_all_that_is_required_works(small: Report) -> None:
    cells = tuple(cell for cell in small.cells if cell.verdict in ("works", "likely"))
    required = judge(
        msgspec.structs.replace(small, cells=cells), ["gemm"], ["vllm==0.33.0"], ["slim"]
    )
    assert required.conclusion == "success"
    absent = judge(
        msgspec.structs.replace(small, cells=cells), ["gemm", "serve"], ["vllm==0.33.0"], ["slim"]
    )
    assert absent.conclusion == "neutral"
