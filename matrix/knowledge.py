"""Everything that is known, without asking anyone: data files and ledger, folded into a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from packaging.requirements import Requirement
from packaging.version import Version

from matrix.assess import assess, unread
from matrix.cell import Cell, Contradiction, Report, StackSummary, TargetSummary
from matrix.chapter import Chapter, chapters
from matrix.configuration import Configuration
from matrix.contradiction import contradictions
from matrix.derive import adds, derive
from matrix.document import nearest
from matrix.errors import ConfigurationError
from matrix.executed import Executed
from matrix.ledger import Ledger
from matrix.namedstack import NamedStack, by_hand, chosen
from matrix.objection import objections
from matrix.published import Published, read_listing
from matrix.selections import Selections
from matrix.situations import Situations
from matrix.stack import Pin, Stack, WrittenStack
from matrix.target import Target
from matrix.vocabulary import ENVIRONMENTS, MACHINES, Environment


class Knowledge:
    """Data files and records together; a report is folded from them on demand."""

    def __init__(
        self,
        configuration: Configuration,
        published: Published,
        selections: Selections | None = None,
        proposed: Sequence[NamedStack] = (),
        written: Sequence[WrittenStack] | None = None,
    ) -> None:
        self._written = written
        self.configuration = configuration
        self.proposed = tuple(proposed)
        self.published = published
        self.situations = Situations(configuration, published, selections or Selections())
        self._chapters: dict[tuple[str, str, tuple[str, ...]], tuple[Chapter, ...]] = {}

    @classmethod
    def load(cls, proposed: Sequence[NamedStack] = ()) -> Knowledge:
        """Read the data files and the ledger that come with the program.

        `proposed` are more stacks; one of a name that we have stands for ours.
        """
        ledger = Ledger()
        published = Published(ledger.read(), read_listing(ledger.folder))
        return cls(Configuration(), published, proposed=proposed)

    @cached_property
    def packages(self) -> frozenset[str]:
        """Every package that a stack's pins are followed for."""
        known = self.configuration.capabilities
        named = {piece.package for piece in known.pieces} | {
            rule.package for rule in known.packages
        }
        return frozenset(
            (named | {name for piece in known.pieces for name in (*piece.libraries, *piece.needs)})
            - {"*"}
        )

    @cached_property
    def stacks(self) -> tuple[NamedStack, ...]:
        """Every stack: as released, newest first, each extra behind its release; then those by hand."""
        found: list[NamedStack] = []
        for entry in self.configuration.stacks.as_released:
            wanted = Requirement(entry.range)
            for version, machines in self.published.records(wanted.name).items():
                if not wanted.specifier.contains(version, prereleases=False):
                    continue
                pins = {wanted.name: version}
                found.append(NamedStack(f"{wanted.name}=={version}", pins, (), entry.note))
                for extra in entry.extras:
                    if any(adds(record, extra, self.packages) for record in machines.values()):
                        name = f"{wanted.name}[{extra}]=={version}"
                        found.append(NamedStack(name, pins, (extra,), entry.note))
        found.sort(key=lambda stack: (stack.lead[0], Version(stack.lead[1])), reverse=True)
        theirs = {stack.name for stack in self.proposed}
        written = self.configuration.stacks.written if self._written is None else self._written
        ours = [each for each in written if each.name not in theirs]
        return (*found, *map(by_hand, ours), *self.proposed)

    def holding(self, written: Sequence[WrittenStack]) -> Knowledge:
        """Return the same knowledge with other stacks by hand."""
        known = self.situations.selections
        return Knowledge(self.configuration, self.published, known, written=tuple(written))

    def report(
        self,
        *,
        generated: str,
        stacks: Sequence[str] = (),
        targets: Sequence[str] = (),
        machines: Sequence[str] = (),
        environments: Sequence[Environment] = (),
        capabilities: Sequence[str] = (),
        executed: Executed | None = None,
    ) -> Report:
        """Fold everything that is asked for; an empty filter asks for all.

        A stack is named, or a range such as `vllm>=0.20`. `executed` are results: they light the last
        lamp, and add the stacks that only they name. Raises ConfigurationError for a name that is not
        known, with the nearest right one.
        """
        executed = executed or Executed()
        declared = executed.stacks(stack.name for stack in self.stacks)
        wanted = chosen(stacks, self.stacks, [stack.name for stack in declared])
        declared = tuple(stack for stack in declared if stack.name in stacks or not stacks)
        gpus = [self.configuration.target(name) for name in dict.fromkeys(targets)]
        gpus = [t for t in self.configuration.targets if t in gpus or not gpus]
        if targets and machines and not list(_places(gpus, machines)):
            there = "; ".join(f"{t.name} exists with {' and '.join(t.machines)} only" for t in gpus)
            raise ConfigurationError(f"no cell: {there}")
        names, results_only = self._capabilities(capabilities)
        shown = tuple(environments) or ENVIRONMENTS
        cells: list[Cell] = []
        found: list[Contradiction] = []
        summaries: list[StackSummary] = []
        for named in wanted:
            resolved = {str(m): self.resolve(named, m) for m in MACHINES}
            summaries.append(self._summary(named, resolved))
            for target, machine in _places(gpus, machines):
                more, disagree = self._judge(
                    named, resolved, target, machine, names=names, environments=shown
                )
                cells += executed.light(more)
                cells += executed.more(named.name, target.name, machine, results_only, shown)
                found += disagree if not named.extras else ()
        for summary in declared:
            for target, machine in _places(gpus, machines):
                every = (*names, *results_only)
                cells += executed.more(summary.name, target.name, machine, every, shown)
        summaries += declared
        return Report(
            generated=generated,
            targets=tuple(_told(target) for target in gpus),
            stacks=tuple(summaries),
            cells=tuple(cells),
            contradictions=tuple(found),
        )

    def resolve(self, named: NamedStack, machine: str) -> Stack:
        """Resolve a stack on one machine; where its leading wheel was not read, it is that pin alone."""
        package, version = named.lead
        if self.published.record(package, version, machine) is None:
            pin = Pin(package=package, version=version)
            return Stack(name=named.name, machine=machine, pins=(pin,), note=named.note)
        return derive(
            named.name,
            named.pins,
            machine,
            self.published,
            self.packages,
            extras=named.extras,
            note=named.note,
        )

    def wanted(self) -> dict[str, set[str]]:
        """Return the releases that the stacks pin, by package.

        What a package requires shows once it was read: ask again after each round of reading.
        """
        versions: dict[str, set[str]] = {}
        for named in self.stacks:
            for machine in MACHINES:
                for pin in self.resolve(named, machine).pins:
                    if pin.version and not pin.version.startswith("@"):
                        versions.setdefault(pin.package, set()).add(pin.version)
        return versions

    def _judge(
        self,
        named: NamedStack,
        resolved: Mapping[str, Stack],
        target: Target,
        machine: str,
        *,
        names: tuple[str, ...],
        environments: Sequence[Environment],
    ) -> tuple[list[Cell], list[Contradiction]]:
        stack, lead = resolved[machine], resolved[machine].lead
        situation = None if named.sources else self.situations.place(stack, target)
        if situation is None:
            there = self.published.has_wheel(lead.package, lead.version, machine)
            return unread(stack, target, names, environments, published=there), []
        key = (lead.package, lead.version, names)
        if key not in self._chapters:
            self._chapters[key] = chapters(
                lead.package,
                lead.version,
                names,
                self.configuration.paths.paths,
                self.configuration.capabilities.pieces,
            )
        told = self._chapters[key]
        found = contradictions(situation, told)
        hearing = self.situations.hearing(named, resolved, situation)
        if hearing:
            found = objections(hearing, told, found)
        return assess(situation, told, environments, hearing), found

    def _capabilities(self, asked: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Give what was asked for of the capabilities that are read in wheels, and of those that results make."""
        known = self.configuration.capabilities.capabilities
        names = [capability.name for capability in known]
        for name in asked:
            if name not in names:
                raise ConfigurationError(f"unknown capability {name!r}{nearest(name, names)}")
        wanted = [capability for capability in known if capability.name in asked or not asked]
        return (
            tuple(each.name for each in wanted if not each.executed_only),
            tuple(each.name for each in wanted if each.executed_only),
        )

    def _summary(self, named: NamedStack, resolved: dict[str, Stack]) -> StackSummary:
        package, version = named.lead
        there = [m for m in MACHINES if self.published.record(package, version, m)]
        cuda: dict[str, str] = {}
        for machine in there:
            torch = resolved[machine].version("torch")
            held = self.situations.hold("torch", torch, machine) if torch else None
            if held and "cuda" in held.record.facts:
                cuda[machine] = held.record.facts["cuda"]
        record = self.published.record(package, version, there[0]) if there else None
        return StackSummary(
            name=named.name,
            package=package,
            version=version,
            machines=tuple(there),
            pins={m: {pin.package: pin.version for pin in resolved[m].pins} for m in there},
            cuda=cuda,
            requires_python=record.requires_python if record else "",
            note=named.note,
        )


def _places(gpus: Sequence[Target], machines: Sequence[str]) -> Iterator[tuple[Target, str]]:
    for target in gpus:
        for machine in target.machines:
            if machine in machines or not machines:
                yield target, machine


def _told(target: Target) -> TargetSummary:
    return TargetSummary(
        name=target.name,
        compute_capability=target.compute_capability,
        machines=target.machines,
        products=target.products,
    )
