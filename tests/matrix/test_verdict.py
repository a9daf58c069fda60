"""One test for each sentence of the rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.verdict import Judgement, PathState, Status, verdict
from matrix.vocabulary import Answer, Reason, Verdict

NATIVE = PathState("vllm.cutlass-dense", native=True, considered="yes", available="yes")
INCOMPLETE = PathState("vllm.cutlass-dense", True, "yes", "no", "no_kernel_image")
UNDECIDED = PathState("vllm.flashinfer-cutlass-dense", True, "yes", "unknown", "not_measured")
REFUSED = PathState("vllm.flashinfer-trtllm-dense", True, "no", "yes")
MARLIN = PathState("vllm.marlin-dense", False, "yes", "yes", "", "weight_only_fallback")
EMULATION = PathState("vllm.emulation-dense", False, "yes", "yes", "", "emulation_fallback")


def test_a_complete_native_path_that_nobody_was_asked_about_is_likely() -> None:
    assert verdict([INCOMPLETE, NATIVE], declared="yes") == Judgement("likely", "", NATIVE.path)


def test_without_execution_nothing_is_better_than_likely() -> None:
    assert verdict([NATIVE], declared="yes", selected=NATIVE.path).verdict == "likely"


def test_only_incomplete_paths_are_broken_where_the_package_declares_support() -> None:
    judged = verdict([INCOMPLETE], declared="yes")
    assert judged == Judgement("broken", "no_kernel_image", INCOMPLETE.path)


@pytest.mark.parametrize("declared", ["no", "unknown"])
def test_only_incomplete_paths_are_unavailable_where_it_does_not(declared: Answer) -> None:
    assert verdict([INCOMPLETE], declared=declared).verdict == "unavailable"


def test_what_cannot_be_decided_is_unknown_rather_than_broken() -> None:
    assert verdict([INCOMPLETE, UNDECIDED], declared="yes").verdict == "unknown"


def test_a_claim_that_could_not_be_read_leaves_a_complete_path_unknown() -> None:
    unread = PathState("vllm.cutlass-dense", True, "unknown", "yes")
    judged = verdict([unread], declared="unknown")
    assert (judged.verdict, judged.reason) == ("unknown", "not_asked")


def test_imports_that_do_not_resolve_break_whatever_the_pieces_say() -> None:
    judged = verdict([NATIVE], declared="yes", imports="no", blocked="torch_without_cuda")
    assert judged == Judgement("broken", "torch_without_cuda")


def test_imports_that_were_not_read_leave_a_complete_path_unknown() -> None:
    judged = verdict([NATIVE], declared="yes", imports="unknown")
    assert (judged.verdict, judged.reason) == ("unknown", "not_measured")


def test_imports_that_were_not_read_do_not_heal_a_missing_piece() -> None:
    assert verdict([INCOMPLETE], declared="yes", imports="unknown").verdict == "broken"


@pytest.mark.parametrize(
    ("path", "reason"), [(MARLIN, "weight_only_fallback"), (EMULATION, "emulation_fallback")]
)
def test_a_selected_path_that_is_not_native_is_a_fallback(path: PathState, reason: Reason) -> None:
    judged = verdict([NATIVE, path], declared="yes", selected=path.path)
    assert judged == Judgement("fallback", reason, path.path)


def test_weight_only_that_was_not_selected_does_not_help_an_incomplete_native_path() -> None:
    assert verdict([INCOMPLETE, MARLIN], declared="yes").verdict == "broken"


def test_the_selected_path_decides_though_another_is_complete() -> None:
    other = PathState("vllm.flashinfer-cutlass-dense", True, "yes", "no", "no_compiler")
    judged = verdict([NATIVE, other], declared="yes", selected=other.path)
    assert judged == Judgement("broken", "no_compiler", other.path)


def test_a_selected_path_without_delivery_is_unavailable_where_nothing_is_declared() -> None:
    judged = verdict([INCOMPLETE], declared="no", selected=INCOMPLETE.path)
    assert judged.verdict == "unavailable"


@pytest.mark.parametrize("selected", ["", "vllm.new"])
def test_a_selection_that_the_data_does_not_know_is_unknown(selected: str) -> None:
    judged = verdict([NATIVE], declared="yes", selected=selected)
    assert judged == Judgement("unknown", "unlisted_path", selected)


def test_a_selected_path_of_which_a_piece_is_undecided_is_unknown() -> None:
    judged = verdict([NATIVE, UNDECIDED], declared="yes", selected=UNDECIDED.path)
    assert judged == Judgement("unknown", "not_measured", UNDECIDED.path)


def test_a_selected_fallback_that_lacks_its_own_piece_does_not_run() -> None:
    lacking = MARLIN._replace(available="no", reason="no_kernel_image")
    judged = verdict([NATIVE, lacking], declared="yes", selected=lacking.path)
    assert judged == Judgement("broken", "no_kernel_image", lacking.path)


@pytest.mark.parametrize("considered", ["no", "unknown"])
def test_a_selected_path_is_considered_whatever_its_gate_was_read_to_say(
    considered: Answer,
) -> None:
    path = NATIVE._replace(considered=considered)
    assert verdict([path], declared="yes", selected=path.path).verdict == "likely"


@pytest.mark.parametrize(
    ("declared", "expected"), [("yes", "broken"), ("no", "unavailable"), ("unknown", "unavailable")]
)
def test_a_refusal_is_broken_only_where_the_package_declares_support(
    declared: Answer, expected: Verdict
) -> None:
    assert verdict([NATIVE], declared=declared, refused=True) == Judgement(expected, "refused")


def test_imports_that_do_not_resolve_come_before_a_selection() -> None:
    judged = verdict(
        [NATIVE],
        declared="yes",
        imports="no",
        blocked="cuda_mismatch",
        selected=NATIVE.path,
        refused=True,
    )
    assert judged == Judgement("broken", "cuda_mismatch")


def test_paths_that_the_library_would_not_consider_are_unavailable() -> None:
    assert verdict([REFUSED, MARLIN], declared="no") == Judgement("unavailable", "not_declared")


def test_a_release_without_any_path_says_so() -> None:
    assert verdict([], declared="no") == Judgement("unavailable", "no_path")
    assert verdict([MARLIN], declared="unknown") == Judgement("unavailable", "no_path")


def test_a_path_that_is_claimed_gives_the_reason_before_one_that_is_not() -> None:
    unclaimed = PathState("vllm.b12x-dense", True, "unknown", "no", "missing_package")
    assert verdict([unclaimed, INCOMPLETE], declared="yes").reason == "no_kernel_image"


def test_a_path_that_is_taken_on_request_alone_does_not_count() -> None:
    asked = NATIVE._replace(on_request=True)
    alone = verdict([asked], declared="yes")
    assert (alone.verdict, alone.reason) == ("unavailable", "on_request")
    assert verdict([asked, INCOMPLETE], declared="yes").verdict == "broken"
    assert verdict([asked], declared="yes", selected=asked.path).verdict == "likely"


@pytest.mark.parametrize(
    ("status", "expected"),
    [("pass", "works"), ("slow", "slow"), ("fallback", "fallback"), ("fail", "broken")],
)
def test_what_ran_settles_it(status: Status, expected: Verdict) -> None:
    judged = verdict([INCOMPLETE], declared="no", executed=status, executed_reason="wrong_numbers")
    assert judged.verdict == expected
    assert judged.reason == ("" if status == "pass" else "wrong_numbers")


@pytest.mark.parametrize("status", ["skip", "error", "missing"])
def test_a_probe_that_found_nothing_changes_nothing(status: Status) -> None:
    assert verdict([NATIVE], declared="yes", executed=status) == verdict([NATIVE], declared="yes")


answers: st.SearchStrategy[Answer] = st.sampled_from(["yes", "no", "unknown"])
reasons: st.SearchStrategy[Reason] = st.sampled_from(["", "no_kernel_image", "arch_guard"])
states = st.builds(
    PathState, st.sampled_from("abc"), st.booleans(), answers, answers, reasons, st.just("")
)
ORDER: list[Verdict] = ["likely", "unknown", "broken", "unavailable"]


@given(st.lists(states), answers, answers)
def test_only_a_complete_considered_native_path_in_a_sound_stack_is_likely(
    paths: list[PathState], declared: Answer, imports: Answer
) -> None:
    judged = verdict(paths, declared=declared, imports=imports, blocked="torch_without_cuda")
    sound = any(
        p.native and p.considered == p.available == "yes" and not p.on_request for p in paths
    )
    assert (judged.verdict == "likely") == (sound and imports == "yes")


@given(st.lists(states), st.lists(states), answers)
def test_one_more_path_never_breaks_what_was_likely(
    paths: list[PathState], more: list[PathState], declared: Answer
) -> None:
    if verdict(paths, declared=declared).verdict == "likely":
        assert verdict([*paths, *more], declared=declared).verdict == "likely"
        assert verdict([*more, *paths], declared=declared).verdict == "likely"


@given(st.lists(states, min_size=1), st.data(), answers)
def test_a_selected_path_decides_alone(
    paths: list[PathState], data: st.DataObject, declared: Answer
) -> None:
    chosen = data.draw(st.sampled_from(paths))
    first = next(path for path in paths if path.path == chosen.path)
    judged = verdict(paths, declared=declared, selected=chosen.path)
    assert judged == verdict([first], declared=declared, selected=chosen.path)
    assert (judged.verdict == "likely") == (first.native and first.available == "yes")
    assert (judged.verdict == "fallback") == (not first.native and first.available != "no")
