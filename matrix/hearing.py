"""What a kept selection says of one stack on one target, and why it may not speak for it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from matrix.cell import Item
from matrix.chapter import Chapter
from matrix.compiled import piece_state
from matrix.kept import PACKAGES
from matrix.path import Path
from matrix.selection import Candidate, LayerChoice, LayerKind, Selection, completed
from matrix.situation import Situation
from matrix.vocabulary import ENVIRONMENTS, Environment, Selected

ASKED: Final[Mapping[str, LayerKind]] = {
    "gemm": "dense_w4a4",
    "moe": "moe_w4a4",
    "kv-cache": "kv_cache",
}
"""The layer kind that a capability is about. Nobody can ask for the others: quantize is a piece of what is chosen."""

_WEIGHT_ONLY: Final[Mapping[str, LayerKind]] = {"gemm": "dense_w4a16", "moe": "moe_w4a16"}
"""What a checkpoint with 16-bit activations gets: told beside, since weight-only is what it asks for."""

_LAMPS: Final[Mapping[str, Selected]] = {
    "weight_only_fallback": "weight_only",
    "emulation_fallback": "emulation",
}


@dataclass(frozen=True)
class Hearing:
    """One stack on one target, and what its release said when it was asked.

    `there`: the same stack on the CPU that was asked on, where that is another one (None: it is this
    one, or nothing is known of it). `written`: the pins that somebody wrote by hand; `extras`: of the stack.
    """

    selection: Selection
    here: Situation
    there: Situation | None = None
    written: Mapping[str, str] | None = None
    extras: Sequence[str] = ()

    def choice(self, chapter: Chapter, environment: Environment) -> LayerChoice | None:
        """Return what would be chosen for a capability, None where that was not asked or does not hold here."""
        kind = ASKED.get(chapter.capability)
        if kind is None or self.silence(chapter):
            return None
        return self._choice(kind, chapter, environment)

    def _choice(
        self, kind: LayerKind, chapter: Chapter, environment: Environment
    ) -> LayerChoice | None:
        """Look an answer up; its path is that of today's data, which may have learnt it since."""
        choices = self.selection.environments.get(environment)
        found = choices.targets.get(self.here.target.name, {}).get(kind) if choices else None
        return completed(kind, found, self.here.target, chapter.paths) if found else None

    def silence(self, chapter: Chapter) -> str:
        """Say why the answers do not hold for this stack; "" where they do."""
        return (
            self._other_stack
            or self._by_hand(chapter)
            or self._extra(chapter)
            or (self._apart(chapter) if self.carried else "")
        )

    @property
    def carried(self) -> bool:
        """Whether it was asked on another CPU than the stack's."""
        return self.selection.machine != self.here.stack.machine

    @cached_property
    def _other_stack(self) -> str:
        """Say in what the stack that was asked is another one: what decides a choice must be the same, or absent."""
        return next(filter(None, map(self._differs, PACKAGES)), "")

    def _differs(self, name: str) -> str:
        """Say how a package that was asked with differs from the stack's; "" where it does not."""
        asked, pinned = self._found.get(name, ""), self.here.stack.version(name) or ""
        if asked == pinned:
            return ""
        return f"asked with {_there(name, asked)}; this stack has {_there(name, pinned)}"

    def _by_hand(self, chapter: Chapter) -> str:
        """Say which pin by hand may change the choice: one that what was chosen calls, or what said no before it."""
        other = {name: why for name in self.written or {} if (why := self._differs(name))}
        kind = ASKED.get(chapter.capability)
        if not other or kind is None:
            return ""
        for environment in self.selection.environments:
            choice = self._choice(kind, chapter, environment)
            called = _called(choice, self.here, chapter.paths) if choice else None
            for name, why in other.items():
                if called is None or name in called:
                    return why
        return ""

    @cached_property
    def _found(self) -> dict[str, str]:
        told = {**self.selection.installed, **self.selection.packages}
        return {name: version.partition("+")[0] for name, version in told.items()}

    def _extra(self, chapter: Chapter) -> str:
        """Say what an extra adds that a path of the capability calls on this GPU; "" where nothing is."""
        if not self.extras:
            return ""
        pins = {pin.package: pin.version for pin in self.here.stack.pins}
        for name, version in pins.items():
            if (asked := self._found.get(name, version)) != version:
                return f"asked with {_there(name, asked)}; this stack has {_there(name, version)}"
        added = pins.keys() - self._found.keys()
        family = self.here.target.family
        for path in chapter.paths:
            if path.families and family not in path.families:
                continue
            for entry in filter(None, map(self.here.entry, path.pieces)):
                for name in (entry.package, *entry.needs, *entry.libraries):
                    if name in added:
                        return (
                            f"asked without {name}, which the extra {', '.join(self.extras)} brings"
                        )
        return ""

    def _apart(self, chapter: Chapter) -> str:
        """Say what sets the wheels for this CPU apart from those that were asked; "" where nothing does.

        vLLM answers by what was compiled into its wheel, by what its Python checks, and by the packages
        beside it: own images, gates and pins must be the same on this target.
        """
        here, there, machine = self.here, self.there, self.selection.machine
        if there is None:
            return f"asked on {machine}, whose wheel was not read"
        asked = f"asked on {machine}"
        pins = {pin.package: pin.version for pin in here.stack.pins}
        others = {pin.package: pin.version for pin in there.stack.pins}
        if here.cuda != there.cuda:
            return f"{asked}, where torch is a build for {_cuda(there)}; here it is one for {_cuda(here)}"
        for name in sorted(pins.keys() | others.keys()):
            one, other = pins.get(name, ""), others.get(name, "")
            if one != other:
                return f"{asked} with {_there(name, other)}; here it is {_there(name, one)}"
        for name, one, other in _images(here, there, chapter):
            if one != other:
                return f"{asked}, whose wheel has {name}: {other}; the {here.stack.machine} wheel: {one}"
        for path in chapter.paths:
            for environment in ENVIRONMENTS if path.gate else ():
                said, other = (s.gate(path.gate or "", environment) for s in (here, there))
                if said != other:
                    return f"{asked}, whose wheel says {other} to {path.gate}; here it says {said}"
        return ""

    def items(
        self, chapter: Chapter, environment: Environment, choice: LayerChoice | None
    ) -> Iterator[Item]:
        """Tell what was chosen, for what, and what said no before it."""
        kind = ASKED.get(chapter.capability)
        if kind is None:
            return
        if choice is None:
            why = self.silence(chapter) or f"not asked for {environment}"
            yield Item(
                kind="selected", name=self.here.stack.lead.package, answer="not_asked", text=why
            )
            return
        yield self._item(kind, environment, choice)
        for candidate in _passed_over(choice):
            said = {True: "yes", False: "no", None: "unknown"}[candidate.supported]
            yield Item(kind="candidate", name=candidate.name, answer=said, text=candidate.reason)
        beside = _WEIGHT_ONLY.get(chapter.capability)
        other = self._choice(beside, chapter, environment) if beside else None
        if other and other.selected:
            text = "for a checkpoint with 16-bit activations, which this cell is not about"
            yield Item(kind="selected", name=other.selected, answer=lamp(other), text=text)

    def _item(self, kind: LayerKind, environment: Environment, choice: LayerChoice) -> Item:
        made, here = self.selection, self.here
        place = f"asked in {environment} on {made.machine}"
        if self.carried:
            place += (
                f", and the {here.stack.machine} wheel has the same kernels for {here.target.name}"
            )
        told = [place, *filter(None, [choice.reason])]
        asked = made.asked_for.get(kind, {})
        told.append(
            "for " + ", ".join(f"{k.replace('_', ' ')} {_word(v)}" for k, v in asked.items())
        )
        told.append(_cubins(made))
        drift = ", ".join(
            f"{name} {made.installed.get(name, 'none')} for {version or 'none'}"
            for name, version in made.differs.items()
        )
        told += [f"other versions there: {drift}"] if drift else []
        name = choice.selected or "none"
        return Item(
            kind="selected", name=name, answer=lamp(choice), text="; ".join(told), where=self.where
        )

    @property
    def where(self) -> str:
        """What was asked, on which CPU and day."""
        made = self.selection
        pins = ", ".join(f"{name} {version}" for name, version in made.packages.items())
        return f"{pins}; asked on {made.machine}" + (f", {made.asked}" if made.asked else "")


def lamp(choice: LayerChoice | None) -> Selected:
    """Fold a choice into its lamp; one that no path of the data is says nothing yet."""
    if choice is None:
        return "not_asked"
    if choice.outcome == "none":
        return "refused"
    if choice.outcome == "unknown" or choice.native is None:
        return "unknown"
    return "native" if choice.native else _LAMPS.get(choice.fallback, "unknown")


def taken(choice: LayerChoice | None) -> str | None:
    """Return the path that was chosen as `verdict` wants it: "" for one that the data does not know."""
    return choice.path if choice and choice.outcome == "chosen" else None


def chosen_path(choice: LayerChoice | None, paths: Sequence[Path]) -> Path | None:
    """Pick the path that was chosen."""
    name = taken(choice)
    return next((path for path in paths if path.path == name), None) if name else None


def _images(here: Situation, there: Situation, chapter: Chapter) -> Iterator[tuple[str, str, str]]:
    """Compare each own image of a capability, and of its paths, in the wheels for two CPUs: compiled or not."""
    package, gpu = here.stack.lead.package, here.target.capability
    names = dict.fromkeys(
        [*(p.piece for p in chapter.own), *(name for path in chapter.paths for name in path.pieces)]
    )
    for name in names:
        entry = here.entry(name)
        if entry and entry.package == package and entry.delivery == "image":
            one, other = (piece_state(s.held[package], entry, gpu) for s in (here, there))
            yield name, one.compiled, other.compiled


def _passed_over(choice: LayerChoice) -> Iterator[Candidate]:
    """Yield what was not taken before the choice; all of them where nothing was chosen."""
    for candidate in choice.candidates:
        if candidate.name == choice.selected and candidate.supported:
            return
        yield candidate


def _called(choice: LayerChoice, here: Situation, paths: Sequence[Path]) -> frozenset[str] | None:
    """Return the packages that a choice and all that was passed over before it call; None where one is not known."""
    names = {path.selector: path for path in paths}
    looked = [path for path in paths if path.path == choice.path]
    before = [names.get(candidate.name) for candidate in _passed_over(choice)]
    if not looked or None in before:
        return None
    entries = [
        here.entry(name) for path in (*looked, *filter(None, before)) for name in path.pieces
    ]
    if None in entries:
        return None
    return frozenset(
        name
        for entry in filter(None, entries)
        for name in (entry.package, *entry.needs, *entry.libraries)
    )


def _there(name: str, version: str) -> str:
    return f"{name} {version}" if version else f"no {name}"


def _cuda(situation: Situation) -> str:
    if situation.cuda is None:
        return "an unknown CUDA"
    return f"CUDA {situation.cuda}" if situation.cuda else "the CPU alone"


def _cubins(made: Selection) -> str:
    said = {True: "reachable", False: "not reachable", None: "not known to be reachable"}
    return f"cubins of NVIDIA {said[made.cubins.reachable]} ({made.cubins.how})"


def _word(value: bool | int | str) -> str:  # noqa: FBT001 - what was asked for is told as it is
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
