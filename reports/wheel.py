"""What one wheel holds and claims, told as JSON, as plain text for pipes, and as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from matrix.compiled import CompiledState, compiled, own_pieces
from matrix.declared import declared
from reports.text import plain

if TYPE_CHECKING:
    from rich.console import Console

    from matrix.capability import Piece
    from matrix.configuration import Configuration
    from matrix.evidence.record import WheelEvidence
    from matrix.gate import GateAnswer
    from matrix.target import Target

_COLUMNS: Final = ("compiled", "declared", "kernels", "images")
_TONES: Final = {
    "yes": "green",
    "jit": "cyan",
    "dsl": "cyan",
    "partial": "yellow",
    "trap": "bold red",
    "no": "red",
    "unknown": "dim",
}
_CUBIN_ENTRIES: Final = 12


def summary(
    evidence: WheelEvidence, configuration: Configuration, machine: str = ""
) -> dict[str, Any]:
    """Tell one wheel's lamps for every capability and target, as `audit --json` prints them.

    `machine` stands for a wheel that is the same on every machine.
    """
    known = configuration.capabilities
    capabilities = {
        capability.name: {
            target.name: {
                "compiled": state.compiled,
                "declared": declared(evidence.gates, capability.name, target.capability),
                "images": list(state.images),
                "claims": {
                    gate.gate: {
                        "slim": gate.slim.get(str(target.capability), "unknown"),
                        "devel": gate.devel.get(str(target.capability), "unknown"),
                    }
                    for gate in evidence.gates
                    if capability.name in gate.capabilities
                },
                "kernels": state.kernels,
                "needs": needed(evidence, capability.name, state, target, known.pieces),
                "pieces": state.pieces,
            }
            for target in configuration.targets
            for state in [compiled(evidence, capability.name, target.capability, known.pieces)]
        }
        for capability in known.readable
    }
    return {
        "package": evidence.package,
        "version": evidence.version,
        "machine": machine if machine and evidence.machine == "any" else evidence.machine,
        "filename": evidence.filename,
        "sha256": evidence.sha256,
        "bytes_total": evidence.bytes_total,
        "bytes_fetched": evidence.bytes_fetched,
        "capabilities": capabilities,
    }


def needed(
    evidence: WheelEvidence,
    capability: str,
    state: CompiledState,
    target: Target,
    pieces: Sequence[Piece],
) -> list[str]:
    """Name what must be there beside the wheel: a CUDA toolkit of an age, a compiler, a library."""
    found: list[str] = []
    for piece in own_pieces(evidence.package, evidence.version, capability, pieces):
        held = state.pieces[piece.piece]
        if not piece.required or held.compiled == "no":
            continue
        if piece.delivery == "jit":
            found.append(f"nvcc {target.first_cuda}")
        found += piece.needs
        if piece.libraries and evidence.package not in piece.libraries:
            minimum = f">={piece.minimum}" if piece.minimum else ""
            found.append(" or ".join(piece.libraries) + minimum)
    return list(dict.fromkeys(found))


def headlines(evidence: WheelEvidence) -> Iterator[str]:
    """Yield what is to be known of the wheel itself, a line each."""
    fetched, total = evidence.bytes_fetched / 1e6, evidence.bytes_total / 1e6
    yield f"{plain(evidence.filename)}  ({fetched:.0f} of {total:.0f} MB read)"
    needs = sorted({held.needs for held in evidence.objects if held.needs})
    if needs:
        yield f"needs: {' '.join(map(plain, needs))}"
    for fact, value in sorted(evidence.facts.items()):
        yield f"{plain(fact)}: {plain(value) or 'none'}"
    for piece in sorted({cubin.piece for cubin in evidence.cubins}):
        files = {cubin.image: cubin.files for cubin in evidence.cubins if cubin.piece == piece}
        counts = [f"{plain(image)} {count}" for image, count in sorted(files.items())]
        more = f", and {len(counts) - _CUBIN_ENTRIES} more" if len(counts) > _CUBIN_ENTRIES else ""
        yield f"cubins of {piece}: {', '.join(counts[:_CUBIN_ENTRIES])}{more}"
    for held in evidence.objects:
        if held.outcome == "refused":
            yield f"{plain(held.path)} could not be read: {plain(held.detail)}"


def claims(evidence: WheelEvidence, configuration: Configuration) -> str:
    """Tell what each gate says of each target, in lines of aligned words; "devel": yes with a compiler only."""
    if not evidence.gates:
        return "it makes no claim that is read"
    targets = configuration.targets
    width = max(len(gate.gate) for gate in evidence.gates) + 4
    lines = [f"{'claims':<{width}}" + "".join(f"{target.name:<8}" for target in targets)]
    for capability in configuration.capabilities.readable:
        own = [gate for gate in evidence.gates if capability.name in gate.capabilities]
        if own:
            lines += ["", capability.name]
        for gate in own:
            said = [_claim(gate, target.capability) for target in targets]
            lines.append(f"  {gate.gate:<{width - 2}}" + "".join(f"{word:<8}" for word in said))
    return "\n".join(line.rstrip() for line in lines)


def _claim(gate: GateAnswer, capability: int) -> str:
    slim = gate.slim.get(str(capability), "unknown")
    devel = gate.devel.get(str(capability), "unknown")
    return devel if slim == devel else "devel" if devel == "yes" else f"{slim}/{devel}"


def text(evidence: WheelEvidence, told: dict[str, Any]) -> str:
    """Tell a wheel in lines of aligned words: what scripts and `grep` read. Its columns stay as they are."""
    shown, silent = _shown(told)
    lines = list(headlines(evidence))
    width = max((len(name) for name in told["capabilities"]), default=0)
    for capability, targets in shown.items():
        lines += ["", f"{capability:<{width}}  compiled  declared  kernels  images"]
        lines += [
            f"  {target:<{width - 2}}  {state['compiled']:<8}  {state['declared']:<8}  "
            f"{state['kernels']:>7}  {_where(state)}".rstrip()
            for target, state in targets.items()
        ]
    if silent:
        lines += ["", f"nothing of its own for: {' '.join(silent)}"]
    return "\n".join(lines)


def show(evidence: WheelEvidence, told: dict[str, Any], console: Console) -> None:
    """Print the same as tables as wide as the console, in colour where it has any."""
    from rich.table import Table  # noqa: PLC0415 - only a terminal needs it
    from rich.text import Text  # noqa: PLC0415

    name, *rest = headlines(evidence)
    console.print(Text(name, style="bold"))
    for line in rest:
        console.print(Text(line))
    shown, silent = _shown(told)
    width = max((len(each) for each in (*shown, *_first(shown))), default=0)
    for capability, targets in shown.items():
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        table.add_column(Text(capability, style="bold not dim"), width=width, no_wrap=True)
        for column in _COLUMNS[:-1]:
            right = column == "kernels"
            table.add_column(
                column, width=len(column), no_wrap=True, justify="right" if right else "left"
            )
        table.add_column(_COLUMNS[-1])
        for target, state in targets.items():
            table.add_row(
                target,
                Text(state["compiled"], style=_TONES[state["compiled"]]),
                Text(state["declared"], style=_TONES[state["declared"]]),
                str(state["kernels"] or ""),
                Text(_where(state)),
            )
        console.print()
        console.print(table)
    if silent:
        console.print()
        console.print(Text(f"nothing of its own for: {' '.join(silent)}", style="dim"))


def _where(state: dict[str, Any]) -> str:
    """Tell the images, or what must be there instead."""
    return " ".join(state["images"]) or ", ".join(f"needs {each}" for each in state["needs"])


def _first(shown: dict[str, Any]) -> list[str]:
    return list(next(iter(shown.values()), {}))


def _shown(told: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Part the capabilities into those of which the wheel says or holds anything, and the rest."""
    shown = {
        name: targets
        for name, targets in told["capabilities"].items()
        if any(s["pieces"] or s["declared"] != "unknown" for s in targets.values())
    }
    return shown, [name for name in told["capabilities"] if name not in shown]
