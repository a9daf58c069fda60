from __future__ import annotations

from probes.selection.answer import Answer, Candidate, Opinion, unknown


def reasons(answer: Answer) -> list[str]:
    return [candidate["reason"] for candidate in answer.told()["candidates"]]


def test_every_candidate_says_why_it_was_passed_over() -> None:
    asked = (
        Candidate("First", supported=False, reason="needs sm_100"),
        Candidate("Chosen", supported=True),
        Candidate("Behind", supported=True),
        Candidate("Elsewhere", supported=True),
        Candidate("Broken", supported=None, reason="ImportError: no"),
    )
    answer = Answer("chosen", "Chosen", "", "", asked, ("First", "Chosen", "Behind", "Broken"))
    assert reasons(answer) == [
        "needs sm_100",
        "",
        "behind Chosen in the list",
        "not in the list that is tried: on request alone",
        "ImportError: no",
    ]


def test_an_exception_from_the_order_is_told() -> None:
    asked = (Candidate("Marlin", supported=True), Candidate("Humming", supported=True))
    order = ("Marlin", "Humming")
    answer = Answer("chosen", "Humming", "", "", asked, order)
    assert reasons(answer)[0] == "passed over for Humming, though it stands earlier in the list"
    assert reasons(answer._replace(exception="by rule"))[0] == "by rule"


def test_the_other_class_of_a_chosen_backend_is_behind_the_one() -> None:
    asked = (Candidate("TRTLLM", True, "", "One"), Candidate("TRTLLM", True, "", "Two"))
    answer = Answer("chosen", "TRTLLM", "One", "", asked, ("TRTLLM",))
    assert reasons(answer) == ["", "behind One of the same backend"]


def test_flashinfers_own_words_stand_beside() -> None:
    told = unknown("no\nadapter").told([Opinion("mm_fp4(b12x)", supported=False)])
    assert told["outcome"] == "unknown"
    assert told["reason"] == "no adapter"
    assert told["flashinfer"] == [{"call": "mm_fp4(b12x)", "supported": False, "reason": ""}]
