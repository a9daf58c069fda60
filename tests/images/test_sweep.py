"""What is left of a build in an engine that is slow to stop it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from images.engine import Engine, client
from images.recipe import MARK


class Images:
    """An engine whose looks show, one after the other, what is left; `held`: removals that it refuses before the first."""

    def __init__(self, *looks: tuple[str, ...], held: int = 0) -> None:
        self.looks, self.held = [*looks], held
        self.removed: list[str] = []

    def images(self, *, quiet: bool, filters: dict[str, Any]) -> list[str]:
        assert quiet
        assert filters == {"dangling": True, "label": f"{MARK}=f00"}
        left = self.looks.pop(0) if self.looks else ()
        return [each for each in left if each not in self.removed]

    def remove(self, name: str, *, force: bool) -> None:
        assert force
        if self.held:
            self.held -= 1
            raise docker.errors.APIError("conflict: is being used by running container")
        self.removed.append(name)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    told = SimpleNamespace(sleep=slept.append, monotonic=lambda: sum(slept))
    monkeypatch.setattr(client, "time", told)
    return slept


def sweep(images: Images, *, ended: bool) -> tuple[str, ...]:
    told: Any = SimpleNamespace(api=images, images=images)
    return Engine(told, "x86_64").sweep("f00", ended=ended)


def test_what_a_build_left_is_removed_and_one_look_is_enough_for_nothing(
    clock: list[float],
) -> None:
    images = Images(("a", "b"))
    assert sweep(images, ended=True) == ()
    assert images.removed == ["a", "b"]
    assert sweep(Images(), ended=True) == ()
    assert sum(clock) < 1


def test_what_a_container_still_holds_is_tried_until_it_is_free() -> None:
    images = Images(*[("a",)] * 20, held=5)
    assert sweep(images, ended=False) == ()
    assert images.removed == ["a"]


def test_what_appears_only_when_the_engine_has_stopped_is_removed_as_well() -> None:
    images = Images((), (), ("late",))
    assert sweep(images, ended=False) == ()
    assert images.removed == ["late"]


def test_what_cannot_be_removed_is_returned(clock: list[float]) -> None:
    images = Images(*[("a",)] * 1000, held=1000)
    assert sweep(images, ended=False) == ("a",)
    assert sum(clock) < 60
