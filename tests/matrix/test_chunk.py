from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from matrix.chunk import MOST, chunks, minutes, word
from matrix.plan import Job, labels


def job(number: int = 0, target: str = "sm121", seconds: float = 0.0) -> Job:
    return Job(
        stack=f"vllm==0.{number}.0",
        target=target,
        machine="aarch64" if target == "sm121" else "x86_64",
        cells={"slim": ("gemm",)},
        seconds=seconds,
    )


@given(
    st.lists(st.sampled_from(("sm100", "sm120", "sm121")), max_size=60),
    st.integers(min_value=1, max_value=9),
)
def test_every_job_is_in_one_chunk_of_its_own_runners(targets: list[str], most: int) -> None:
    jobs = [job(number, target) for number, target in enumerate(targets)]
    made = chunks(jobs, runners={}, most=most)
    assert Counter(entry.id for chunk in made for entry in chunk.include) == Counter(
        map(word, jobs)
    )
    for chunk in made:
        assert 1 <= len(chunk.include) <= most
        assert {(entry.target, entry.machine) for entry in chunk.include} == {
            (chunk.target, chunk.machine)
        }
    assert len({chunk.name for chunk in made}) == len(made)


def test_what_is_more_than_a_matrix_takes_is_split_and_numbered() -> None:
    made = chunks([job(number) for number in range(MOST + 1)], runners={})
    assert [(chunk.name, len(chunk.include)) for chunk in made] == [
        ("sm121 aarch64, 1 of 2", 256),
        ("sm121 aarch64, 2 of 2", 1),
    ]


def test_as_many_jobs_run_at_once_as_there_are_runners_and_one_where_nobody_knows() -> None:
    made = chunks(
        [job(), job(target="sm120"), job(target="sm100")],
        runners={("sm121", "aarch64"): 3, ("sm100", "x86_64"): 0},
    )
    assert {chunk.target: chunk.at_once for chunk in made} == {"sm121": 3, "sm120": 1, "sm100": 1}


def test_an_entry_has_the_labels_of_its_job() -> None:
    ((chunk,), asked) = chunks([job()], runners={}), job()
    assert chunk.include[0].runs_on == labels(asked)


def test_stacks_of_any_name_have_words_of_their_own_that_are_file_names() -> None:
    names = ["vllm==0.33.0", "vllm[b12x]==0.33.0", "../../etc", "a b", "ä"]
    words = {word(Job(stack=name, target="sm121", machine="aarch64", cells={})) for name in names}
    assert len(words) == len(names)
    assert all(each.replace("-", "").replace("_", "").isalnum() for each in words)


def test_a_job_has_three_times_what_it_usually_takes_within_bounds() -> None:
    assert minutes(job()) == 120
    assert minutes(job(seconds=3600)) == 240
    assert minutes(job(seconds=1e6)) == 1200
