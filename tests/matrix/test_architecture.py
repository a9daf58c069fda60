from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.architecture import holds_fp4, loadable, parse, translatable

capabilities = st.sampled_from([75, 80, 86, 89, 90, 100, 103, 107, 110, 120, 121])


@pytest.mark.parametrize(
    ("image", "loads", "refuses"),
    [
        ("sm_120", [120, 121], [100, 103, 110, 90]),
        ("sm_120a", [120], [121, 100]),
        ("sm_120f", [120, 121], [100, 110]),
        ("sm_121f", [121], [120]),
        ("sm_100f", [100, 103, 107], [110, 120, 90]),
        ("sm_100a", [100], [103]),
        ("sm_110f", [110], [100, 103, 120]),
    ],
)
def test_images_load_as_the_programming_guide_says(
    image: str, loads: list[int], refuses: list[int]
) -> None:
    assert all(loadable(image, c) for c in loads)
    assert not any(loadable(image, c) for c in refuses)


@given(built=capabilities, gpu=capabilities)
def test_a_loads_nowhere_that_f_does_not_and_f_nowhere_that_plain_does_not(
    built: int, gpu: int
) -> None:
    assert loadable(f"sm_{built}a", gpu) <= loadable(f"sm_{built}f", gpu)
    assert loadable(f"sm_{built}f", gpu) <= loadable(f"sm_{built}", gpu)


@given(built=capabilities, suffix=st.sampled_from(["", "a", "f"]))
def test_every_image_loads_on_the_gpu_it_was_built_for(built: int, suffix: str) -> None:
    assert loadable(f"sm_{built}{suffix}", built)
    assert translatable(f"compute_{built}{suffix}", built)


@given(built=capabilities, gpu=capabilities, suffix=st.sampled_from(["", "a", "f"]))
def test_machine_code_never_crosses_a_major_nor_goes_to_an_older_gpu(
    built: int, gpu: int, suffix: str
) -> None:
    if loadable(f"sm_{built}{suffix}", gpu):
        assert built // 10 == gpu // 10
        assert built <= gpu


@given(built=capabilities, gpu=capabilities)
def test_plain_ptx_goes_to_anything_newer(built: int, gpu: int) -> None:
    assert translatable(f"compute_{built}", gpu) == (built <= gpu)


@given(st.text(max_size=12))
def test_anything_else_is_no_architecture(text: str) -> None:
    try:
        architecture = parse(text)
    except ValueError:
        return
    assert text in {
        f"{kind}_{architecture.capability}{architecture.suffix}" for kind in ("sm", "compute")
    }


def test_fp4_instructions_exist_only_with_a_suffix_and_from_sm100_on() -> None:
    assert [i for i in ("sm_90a", "sm_100", "sm_100a", "sm_120", "sm_120f") if holds_fp4(i)] == [
        "sm_100a",
        "sm_120f",
    ]
