"""FlashInfer's tactics one by one: what its autotuner may choose from, and a call with one of them forced.

Every operation that has a choice asks `AutoTuner.choose_one(custom_op, runners, tuning_config, inputs)` for a runner and a tactic; so from
0.5.3 to 0.7.2 (`flashinfer/autotuner`). That one method is replaced for one call in this process, nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from probes.subject import NotOfferedError
from probes.subjects import package

_T = TypeVar("_T")
Choice = tuple[Any, Any]
"""A runner and a tactic of it."""


def listed(call: Callable[[], object]) -> list[str]:
    """Return the names of all tactics that `call` may run with: operation, runner, tactic. Runs it once as it comes."""
    names: dict[str, None] = {}

    def choose(offered: Sequence[tuple[str, Choice]], usual: Choice) -> Choice:
        names.update(dict.fromkeys(name for name, _ in offered))
        return usual

    with _choosing(choose):
        call()
    return list(names)


def forced(tactic: str, call: Callable[[], _T]) -> _T:
    """Run `call` with one tactic. Raises NotOfferedError where it is not asked for one of that name."""
    hit = []

    def choose(offered: Sequence[tuple[str, Choice]], usual: Choice) -> Choice:
        for name, choice in offered:
            if name == tactic:
                hit.append(name)
                return choice
        return usual

    with _choosing(choose):
        made = call()
    if not hit:
        raise NotOfferedError(f"{tactic} cannot be chosen here")
    return made


def tuned(call: Callable[[], _T]) -> _T:
    """Run `call` while FlashInfer tunes, as vLLM does when it warms up."""
    with package.function("flashinfer", "autotune")(True):
        return call()


@contextlib.contextmanager
def _choosing(choose: Callable[[Sequence[tuple[str, Choice]], Choice], Choice]) -> Iterator[None]:
    """Let `choose` decide between all that is offered, given what FlashInfer would take."""
    module = package.module("flashinfer.autotuner")
    tuner = module.AutoTuner
    usual = tuner.choose_one

    def choose_one(
        self: Any, operation: str, runners: Any, settings: Any, inputs: Any, **more: Any
    ) -> Choice:
        profile = _profile(module, inputs)
        offered = [
            (f"{operation} {type(runner).__name__} {_word(number, tactic)}", (runner, tactic))
            for runner in runners
            for number, tactic in enumerate(runner.get_valid_tactics(inputs, profile))
        ]
        return choose(offered, usual(self, operation, runners, settings, inputs, **more))

    tuner.choose_one = choose_one
    try:
        yield
    finally:
        tuner.choose_one = usual


def _profile(module: Any, inputs: Sequence[Any]) -> Any:
    """Return the profile of just these inputs: every dimension static, as the autotuner makes it for a shape that is not tuned."""
    shapes = [[module.StaticDim(int(n)) for n in getattr(each, "shape", (0,))] for each in inputs]
    return module.OptimizationProfile(shapes, [None] * len(shapes))


def _word(number: int, tactic: Any) -> str:
    """Name a tactic: its own value where that is the same in every process, else its number in the list."""
    told = repr(tactic)
    return f"#{number}" if " at 0x" in told else told.replace(" ", "")
