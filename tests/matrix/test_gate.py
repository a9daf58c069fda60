from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.evidence.source import CAPABILITIES, _reasons
from matrix.gate import GateAnswer
from matrix.vocabulary import ENVIRONMENTS, Environment


@pytest.mark.parametrize(
    ("why", "capability", "environment", "told"),
    [
        ("FlashInfer required", 121, "slim", "FlashInfer required"),
        ("sm75, sm121: too old", 121, "slim", "too old"),
        ("sm75, sm121: too old", 12, "slim", ""),
        ("slim sm121: no nvcc; devel sm75: too old", 121, "slim", "no nvcc"),
        ("slim sm121: no nvcc; devel sm75: too old", 121, "devel", ""),
        ("slim sm121: one; or the other; devel sm121: two", 121, "slim", "one; or the other"),
        ("", 121, "slim", ""),
    ],
)
def test_a_reason_is_given_to_those_that_it_is_for(
    why: str, capability: int, environment: Environment, told: str
) -> None:
    assert GateAnswer(gate="vllm.x", why=why).reason(capability, environment) == told


WORDS = st.sampled_from(["FlashInfer required", "too old: upgrade", "a; b", "whether it is there"])


@given(
    st.dictionaries(st.tuples(st.sampled_from(ENVIRONMENTS), st.sampled_from(CAPABILITIES)), WORDS)
)
def test_what_was_written_for_a_gpu_is_read_for_it_and_for_no_other(
    said: dict[tuple[Environment, int], str],
) -> None:
    why = _reasons({key: ("no", words) for key, words in said.items()})
    answer = GateAnswer(gate="vllm.x", why=why)
    for environment in ENVIRONMENTS:
        for capability in CAPABILITIES:
            expected = said.get((environment, capability), "")
            assert answer.reason(capability, environment) == expected
