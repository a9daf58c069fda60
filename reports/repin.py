"""Proposals made ready: the stacks' file with one pin replaced, its locks renewed, and what the evidence says of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from matrix.document import loads
from matrix.effect import EVERY, of_stacks
from matrix.errors import ConfigurationError, MatrixError
from matrix.newpin import NewPin, new_pins
from matrix.stack import StacksFile
from matrix.stackedit import with_pin
from matrix.vocabulary import Environment
from reports.github.redact import Redactor
from reports.proposal import Proposal, body

if TYPE_CHECKING:
    from images.locks import Ask
    from matrix.evidence.checkout import Checkout
    from matrix.evidence.lockfile import Lock
    from matrix.executed import Executed
    from matrix.knowledge import Knowledge
    from matrix.namedstack import NamedStack
    from matrix.tracking import Tracked

LOCKS: Final = "images/kept/locks"
_LOCK: Final = re.compile(r"-(slim|devel)-(x86_64|aarch64)-cp3(\d{1,2})\.txt")

Resolve = Callable[["Ask"], "Lock"]


@dataclass(frozen=True)
class Desk:
    """What proposals are made with. `file`: the stacks' file in the checkout. `resolve`: makes a lock of a question."""

    checkout: Checkout
    file: str
    knowledge: Knowledge
    executed: Executed
    resolve: Resolve

    def proposals(self, tracked: Sequence[Tracked]) -> Iterator[Proposal]:
        """Yield a proposal for every pin that upstream's releases suggest. Raises ConfigurationError for no such file."""
        text = self.checkout.read(self.file)
        if text is None:
            raise ConfigurationError(
                f"{self.checkout.folder}: its commit has no {self.file}; name the file with --stacks-file"
            )
        held = loads(text, StacksFile, self.file)
        watched = self.knowledge.configuration.watched
        packages = {one.repository: one.package for one in watched.repositories}
        for pin in new_pins(held.written, tracked, packages):
            yield self._proposal(pin, text, tracked)

    def _proposal(self, pin: NewPin, text: str, tracked: Sequence[Tracked]) -> Proposal:
        made = with_pin(text, self.file, pin.stack, pin.package, pin.after)
        sides = [
            self.knowledge.holding(loads(each, StacksFile, self.file).written)
            for each in (text, made)
        ]
        before, after = (
            side.report(generated="", stacks=[pin.stack], executed=self.executed).cells
            for side in sides
        )
        files, notes = {self.file: made}, []
        named = next(each for each in sides[1].stacks if each.name == pin.stack)
        for path, content, note in self._locks(named):
            files |= {path: content} if content else {}
            notes.append(note)
        return Proposal(
            pin=pin,
            branch=pin.branch,
            title=pin.title,
            body=body(pin, list(of_stacks(before, after, EVERY)), tracked, notes),
            files=files,
            before={
                path: there for path in files if (there := self.checkout.read(path)) is not None
            },
        )

    def _locks(self, named: NamedStack) -> Iterator[tuple[str, str, str]]:
        """Yield path, text and a note for each lock that is kept of a stack; no text where it cannot be renewed."""
        from images import locks  # noqa: PLC0415
        from matrix.evidence.lock import wanted  # noqa: PLC0415

        for name in self.checkout.names(LOCKS):
            found = _LOCK.search(name)
            if found is None:
                continue
            environment: Environment = "devel" if found[1] == "devel" else "slim"
            python, machine = f"3.{found[3]}", found[2]
            asked = locks.ask(
                named.name,
                wanted(named.pins, named.extras, ()),
                machine=machine,
                python=python,
                environment=environment,
            )
            if asked.filename != name:
                continue
            path = f"{LOCKS}/{name}"
            try:
                with TemporaryDirectory() as folder:
                    locks.found(asked, Path(folder), partial(self.resolve, asked))
                    text = (Path(folder) / name).read_text(encoding="utf-8")
            except MatrixError as error:
                why = Redactor().text(
                    str(error)
                )  # it is posted, and an index's address may have a login
                yield path, "", f"The lock {name} could not be renewed, and answers no more: {why}"
            else:
                yield path, text, f"The lock {name} is renewed."


def resolved(asked: Ask) -> Lock:
    """Resolve a lock with the user's own settings of pip. Raises a MatrixError where that fails."""
    from matrix.evidence.lock import resolve  # noqa: PLC0415
    from matrix.evidence.pipconfig import read_pip_config  # noqa: PLC0415

    return resolve(
        asked.wanted, machine=asked.machine, python=asked.python, config=read_pip_config()
    )
