from __future__ import annotations

import msgspec
import pytest

from matrix.journal import Reading
from matrix.planned import PlanOutput
from matrix.proberun import Skipped
from matrix.result import Result
from reports.driving.asked import Asked
from reports.driving.reply import began, ended, marked, rows, unclear
from reports.github.content import MARKER
from tests.matrix.test_proberun import opening, result
from tests.matrix.test_returned import AWAY, NOW, outline
from tests.reports.driving.github import LINK

AFTER = "2026-11-21T16:00:00Z"


def read(*results: Result, skipped: tuple[Skipped, ...] = ()) -> Reading:
    run = msgspec.structs.replace(opening("m=1"), when=AFTER, skipped=skipped)
    return Reading(tuple(results), (), (run,))


def statuses(plan: PlanOutput, kept: Reading) -> dict[tuple[str, str], str]:
    return {
        (row.place, row.capability): f"{row.status} {row.why}".strip() for row in rows(plan, kept)
    }


def test_every_planned_cell_is_told_by_what_came_back_since() -> None:
    away = {"status": "missing", "reason": "runner_offline", "metrics": {}, "kernels": ()}
    kept = read(
        result("m=1", when=AFTER),
        result("m=1", when="2026-11-01T00:00:00Z", capability="moe"),
        result(
            "", target="sm120", machine="x86_64", when=NOW, text="runner offline since X", **away
        ),
    )
    told = statuses(outline(AWAY), kept)
    assert told["sm121 aarch64 slim", "gemm"] == "pass"
    assert told["sm121 aarch64 slim", "moe"] == "skip the suite has no probe of it there"
    assert told["sm121 aarch64 devel", "gemm"] == "missing nothing came back"
    assert told["sm120 x86_64 slim", "gemm"] == "missing runner_offline: runner offline since X"
    assert len(told) == 6


def test_a_secret_that_a_probe_printed_is_not_answered() -> None:
    """It is looked for before Markdown is made of it, which parts words by backslashes."""
    token = "ghp_abcdefghijklmnopqrst1234"
    said = ended(outline(), read(result("m=1", when=AFTER, text=f"HUB_TOKEN={token}")), LINK)
    assert "abcdefghijklmnopqrst1234" not in said
    assert r"HUB\_TOKEN=" in said


def test_what_a_run_left_out_says_why() -> None:
    held = Skipped(capability="moe", checks=3, run="probe-earlier")
    lost = Skipped(capability="gemm", checks=3, why="broken: no_kernel_image")
    told = statuses(outline(), read(skipped=(held, lost)))
    assert told["sm121 aarch64 slim", "moe"] == "skip what run probe-earlier found still holds"
    assert told["sm121 aarch64 slim", "gemm"] == "skip broken: no_kernel_image"


def test_a_run_that_planned_nothing_says_so() -> None:
    nothing = msgspec.structs.replace(outline(), include=())
    assert "Nothing was worth a GPU: 0 cells cannot work" in ended(nothing, read(), LINK)
    assert "ended before it had planned anything" in ended(None, read(), LINK)


def test_an_answer_names_nobody_links_nothing_and_keeps_its_table() -> None:
    evil = "@admins #1 [x](http://e.example) <img src=x> | ` \n| evil | deadbeef1"
    kept = read(result("m=1", when=AFTER, status="fail", reason="wrong_numbers", text=evil))
    plan = outline()
    job = msgspec.structs.replace(plan.include[0], stack="vllm==0.33.0")
    text = ended(msgspec.structs.replace(plan, include=(job,)), kept, LINK)
    for sign in ("@a", "#1", "](http://e", "<img", "\n| evil"):
        assert sign not in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {6}
    for spoken in (began(Asked("sm121", evil), ""), unclear(evil)):
        assert "@a" not in spoken
        assert "<img" not in spoken


def test_a_long_answer_is_cut_to_what_a_comment_takes() -> None:
    plan = outline()
    many = tuple(
        msgspec.structs.replace(plan.include[0], stack=f"vllm==0.{n}.0" + "x" * 150)
        for n in range(500)
    )
    text = ended(msgspec.structs.replace(plan, include=many), read(), LINK)
    assert len(marked("probe-1", text, NOW)[0]) < 65_536
    assert "1500 cells: 1500 missing." in text


@pytest.mark.parametrize("text", ["a\n", "b\n"])
def test_the_mark_comes_first_and_tells_contents_apart(text: str) -> None:
    body, made = marked("probe-1", text, NOW)
    assert body.startswith(f"{MARKER}name=probe-1 hash={made} at={NOW} -->\n")
    assert made == marked("probe-1", text, AFTER)[1]
    assert made != marked("probe-1", "c\n", NOW)[1]
