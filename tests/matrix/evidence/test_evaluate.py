"""Properties of the interpreter: it never raises, and knowing more never turns an answer round."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from matrix.evidence.source import read_gates
from matrix.gate import Gate, PythonGate
from matrix.vocabulary import Answer

NAMES = ("p", "q", "r")

atoms = st.sampled_from(
    [
        *NAMES,
        "True",
        "False",
        "None",
        "1",
        "100",
        "'a'",
        "cc",
        "(p, 1)",
        "[q]",
        "cc.x",
        "g(p)",
        "{1: r}",
    ]
)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    operators = ["and", "or", "==", "!=", "<", ">=", "in", "not in", "is", "+", "*", "%"]
    return st.one_of(
        st.tuples(pair, st.sampled_from(operators)).map(lambda t: f"({t[0][0]} {t[1]} {t[0][1]})"),
        inner.map(lambda e: f"(not {e})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        pair.map(lambda t: f"{t[0]}[{t[1]}]"),
        inner.map(lambda e: f"any(x for x in ({e},))"),
        inner.map(lambda e: f"bool({e})"),
    )


expressions = st.recursive(atoms, _grow, max_leaves=12)

truths = st.recursive(
    st.sampled_from([*NAMES, "True", "False", "cc >= 100", "cc == 120"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or", "==", "!="]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        inner.map(lambda e: f"(not {e})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
    ),
    max_leaves=10,
)

statements = st.lists(
    st.one_of(
        st.tuples(truths, truths).map(lambda t: f"if {t[0]}:\n        return {t[1]}"),
        st.tuples(truths, truths).map(lambda t: f"if {t[0]}:\n        p = {t[1]}"),
        truths.map(lambda e: f"q = {e}"),
        st.tuples(truths, truths).map(lambda t: f"for i in ({t[0]}, {t[1]}):\n        r = i"),
        truths.map(lambda e: f"assert {e}"),
        st.tuples(truths, truths).map(
            lambda t: f"try:\n        q = h({t[0]})\n    except Error:\n        return {t[1]}"
        ),
    ),
    max_size=5,
)


def answers(source: str, known: dict[str, bool | int | str | None]) -> dict[str, Answer]:
    members = {"vllm/a.py": source.encode()}
    python = PythonGate(file="vllm/a.py", function="f", given=known)
    (answer,) = read_gates(
        package="vllm",
        version="1",
        read=members.get,
        names=list(members),
        gates=[Gate(gate="vllm.f", package="vllm", python=python)],
        externs=(),
        compiled=lambda _piece, _capability: None,
    )
    assert "cannot be followed" not in answer.why
    return answer.slim


@given(expressions)
@settings(max_examples=150, deadline=None)
def test_any_expression_gets_an_answer_and_never_an_exception(expression: str) -> None:
    source = (
        f"def f(p, q, r, compute_capability):\n    cc = compute_capability\n    return {expression}"
    )
    assert set(answers(source, {}).values()) <= {"yes", "no", "unknown"}


@given(statements, truths, st.fixed_dictionaries(dict.fromkeys(NAMES, st.booleans())), st.data())
@settings(max_examples=300, deadline=None)
def test_knowing_more_never_turns_a_yes_or_a_no_round(
    lines: list[str], last: str, world: dict[str, bool], data: st.DataObject
) -> None:
    source = "\n    ".join(
        [
            "def h(x):\n    return x\ndef f(compute_capability):",
            "cc = compute_capability",
            "p = where_p()",
            "q = where_q()",
            "r = where_r()",
            *lines,
            f"return {last}",
        ]
    )
    calls: dict[str, bool | int | str | None] = {f"where_{n}()": v for n, v in world.items()}
    some = data.draw(st.sets(st.sampled_from(sorted(calls))))
    nothing = answers(source, {})
    part = answers(source, {name: calls[name] for name in some})
    everything = answers(source, calls)
    for capability, word in nothing.items():
        assert word in {"unknown", part[capability]}
        assert part[capability] in {"unknown", everything[capability]}


@given(truths, st.fixed_dictionaries(dict.fromkeys(NAMES, st.booleans())))
@settings(max_examples=200, deadline=None)
def test_with_everything_known_the_answer_is_pythons(
    expression: str, world: dict[str, bool]
) -> None:
    source = f"def f(compute_capability):\n    cc = compute_capability\n    return {expression}"
    expected = bool(eval(expression, {}, {**world, "cc": 120}))  # generated from a closed grammar
    assert answers(source, dict(world))["120"] == ("yes" if expected else "no")
