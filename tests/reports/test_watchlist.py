from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from matrix.effect import Change
from matrix.tracking import Landed, Tracked
from matrix.watching import Source, WatchReport
from reports.watchlist import headline, render

GOLDEN = Path(__file__).parent / "golden"


def change(lamp: Any, after: str, target: str = "sm121", before: str = "no", **more: Any) -> Change:
    return Change(
        target=target,
        machine="aarch64",
        capability="gemm",
        lamp=lamp,
        before=before,
        after=after,
        **more,
    )


ONE = Tracked(
    watch="vllm#7",
    repository="vllm-project/vllm",
    kind="pull",
    number=7,
    title="The build keeps the suffix of 12.x targets, without which FP4 code comes out wrong",
    source="https://example.org/7",
    capabilities=("gemm",),
    targets=("sm121",),
    state="merged",
    merged="0123456789abcdef0123456789abcdef01234567",
    merged_day="2026-03-25",
    first_release="0.19.2",
    first_nightly="nightly-20260326",
    releases=("0.19.2", "0.20.0 and later"),
    picks=1,
    landed=(
        Landed(
            commit="1123456789abcdef",
            how="picked",
            by="patch",
            day="2026-03-27",
            subject="Hotfix",
            branches=("releases/v0.19.2",),
        ),
        Landed(
            commit="0123456789abcdef",
            how="merged",
            by="subject",
            day="2026-03-25",
            subject="Keep (#7)",
        ),
    ),
    stacks={
        "yes": ("vllm==0.21.0", "vllm[b12x]==0.21.0", "vllm==0.20.0"),
        "no": ("vllm==0.19.0",),
        "unknown": (),
    },
    evidence="changed",
    before=("vllm 0.19.1", "vllm==0.19.1"),
    after=("vllm 0.19.2", "vllm==0.19.2"),
    changes=(
        change("compiled", "yes"),
        change("verdict", "likely", before="broken", environments=("slim", "devel")),
    ),
)
REVERTED = msgspec.structs.replace(
    ONE,
    watch="vllm#8",
    title="Another",
    state="reverted",
    first_release="none",
    first_nightly="unknown",
    releases=(),
    picks=0,
    landed=(
        Landed(
            commit="2123456789abcdef", how="reverted", by="message", day="2026-04-01", subject="Out"
        ),
    ),
    stacks={},
    evidence="not_released",
    before=(),
    after=(),
    changes=(),
)
SAME = msgspec.structs.replace(
    ONE, watch="vllm#9", title="A third", evidence="unchanged", changes=(), landed=()
)
UNKNOWN = Tracked(
    watch="vllm#10",
    repository="vllm-project/vllm",
    kind="pull",
    number=10,
    title="A fourth",
    source="https://example.org/10",
    capabilities=("gemm",),
    targets=("sm121",),
    state="unknown",
    notes=("its history was not read",),
)
REPORT = WatchReport(
    sources=(
        Source(
            repository="vllm-project/vllm",
            day="2026-08-17",
            newest_release="0.21.0",
            untagged=2,
            commits=20_000,
            shallow=False,
        ),
        Source(
            repository="x/y",
            day="2026-08-17",
            newest_release="",
            untagged=0,
            commits=1,
            shallow=True,
        ),
    ),
    watched=(ONE, REVERTED, SAME, UNKNOWN),
)


@pytest.mark.parametrize("width", [80, 160])
def test_the_list_is_as_it_was(width: int, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / f"watch-{width}.txt", render(REPORT, width))


@pytest.mark.parametrize("width", [0, 40, 60, 100])
def test_no_line_is_wider_than_asked_for(width: int) -> None:
    assert max(map(len, render(REPORT, width).splitlines())) <= max(width, 40)


def test_the_first_line_says_what_became_of_it() -> None:
    assert (
        headline(ONE)
        == "merged, in 0.19.2, compiled turned yes on sm121, verdict turned likely on sm121"
    )
    assert headline(REVERTED) == "reverted, in no release yet"
    assert headline(SAME) == "merged, in 0.19.2, our evidence did not change"
    assert headline(UNKNOWN) == "unknown"


def test_targets_on_which_a_lamp_turned_alike_are_told_together() -> None:
    both = (change("compiled", "yes"), change("compiled", "yes", "sm120"))
    assert headline(msgspec.structs.replace(ONE, changes=both)).endswith(
        "compiled turned yes on sm121 and sm120"
    )


def test_many_changes_are_counted() -> None:
    many = tuple(change("compiled", "yes", f"sm{n}") for n in range(100, 120))
    told = render(WatchReport(sources=(), watched=(msgspec.structs.replace(ONE, changes=many),)))
    assert told.count("    - gemm") == 12
    assert "and 8 more; --json tells all" in told


def test_what_upstream_wrote_moves_no_cursor() -> None:
    (landed, *_) = ONE.landed
    hostile = msgspec.structs.replace(landed, branches=("release-1/\x1b[2J\u202e",))
    told = render(
        WatchReport(sources=(), watched=(msgspec.structs.replace(ONE, landed=(hostile,)),))
    )
    assert "\x1b" not in told
    assert "\u202e" not in told
