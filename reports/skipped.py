"""What a probe run left out, in words: why it cannot work, or which run found it before, and what that saves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from matrix.proberun import ProbeRun, Skipped
from matrix.result import Result
from reports import duration
from reports.text import plain


def lines(
    run: ProbeRun, kept: Sequence[Result] = (), usual: Mapping[tuple[str, str], float] | None = None
) -> Iterator[str]:
    """Yield a line for each capability that `run` left out, then what that saves in all, as far as anyone knows.

    `kept`: results of earlier runs. `usual`: seconds by target and capability (`matrix.standing.usual`).
    """
    saved = 0.0
    for skipped in run.skipped:
        usually = (usual or {}).get((run.target, skipped.capability), 0.0)
        seconds = skipped.seconds if skipped.run else usually
        saved += seconds
        count = f"{skipped.checks} check{'s' * (skipped.checks != 1)}"
        if skipped.run:
            found = Counter(str(result.status) for result in held(skipped, kept))
            told = ", ".join(f"{number} {status}" for status, number in found.most_common())
            words = f"not run again: {skipped.capability}, {count} of {skipped.run}: {told}"
        else:
            words = f"not run: {skipped.capability}, {count}: {skipped.why}"
        spared = f"; {'' if skipped.run else 'about '}{duration.told(seconds)}" if seconds else ""
        yield plain(words + spared, limit=300)
    if saved:
        yield f"{duration.told(saved)} of a GPU saved"


def held(skipped: Skipped, kept: Iterable[Result]) -> Iterator[Result]:
    """Yield the results of an earlier run that stand for what was left out."""
    for result in kept:
        if result.run == skipped.run and result.capability == skipped.capability:
            yield result
