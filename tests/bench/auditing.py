"""Reading a published wheel, against downloading it and listing its symbols by hand."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Final

from matrix.errors import MatrixError
from matrix.evidence.nvidiatools import tool
from tests.bench.figure import PYTHON, Aim, BenchError, Findings, Table, Times, ran, told

PACKAGE: Final = "vllm"
VERSION: Final = "0.33.0"
LARGEST: Final = "0.15.1"
"""The largest wheel of vLLM for x86_64 up to 0.33.0: 509 MB."""
TIMES_BOUND: Final = 1 / 3
TIMES_HOPED: Final = 1 / 5
LINES: Final = (1000, 300, 100)
"""Megabits a second for which the ratio is computed too: whoever measures may sit beside the index."""
BYTES_BOUND: Final = 40.0
MEMORY_BOUND: Final = 200.0
BLACKWELL: Final = ("sm_10", "sm_11", "sm_12")
DISASSEMBLY_LIMIT: Final = 1800.0

WATCHED: Final = """
import atexit, pathlib, sys
place = pathlib.Path(sys.argv.pop(1))
def peak():
    status = pathlib.Path("/proc/self/status").read_text()
    place.write_text(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
atexit.register(peak)
from reports.cli import main
main()
"""
"""The program, which writes the most memory that it had itself, its children not counted, in KiB.

ru_maxrss would start from what this bench holds: it outlives exec (Linux, fs/exec.c)."""


SYMBOLS_ONLY: Final = (
    "import matrix.evidence.machinecode as machinecode\nmachinecode._disassemble = lambda *_: {}\n"
)
"""Put before the program: it proves nothing, and does what the way by hand does."""


@dataclass(frozen=True)
class Audited:
    """One reading of a wheel by this project."""

    seconds: float
    total: int
    fetched: int
    peak_mb: float


@dataclass(frozen=True)
class ByHand:
    """One reading by hand, by its steps, in seconds."""

    download: float
    unpack: float
    symbols: float
    total_bytes: int
    disassembly: float | None = None
    stopped: bool = False

    @property
    def seconds(self) -> float:
        return self.download + self.unpack + self.symbols


def bench(*, rounds: int, disassemble: bool, largest: bool) -> Findings:
    """Read the same wheel in turn, `rounds` times: by this project, by hand, by this project, …"""
    found = Findings()
    ours: list[Audited] = []
    listed: list[Audited] = []
    theirs: list[ByHand] = []
    for number in range(rounds):
        ours.append(audited(VERSION))
        theirs.append(by_hand(VERSION, disassemble=disassemble and number == 0))
        listed.append(audited(VERSION, first=SYMBOLS_ONLY))
    _compare(found, ours, listed, theirs)
    memory = {VERSION: max(each.peak_mb for each in ours)}
    if largest:
        one = audited(LARGEST)
        memory[LARGEST] = one.peak_mb
        found.notes.append(
            f"{PACKAGE} {LARGEST}: {told(one.seconds)}, {one.fetched / 1e6:.0f} of {one.total / 1e6:.0f} MB"
        )
    for version, megabytes in memory.items():
        found.values[f"audit_{version}_peak_mb"] = megabytes
        found.aims.append(
            Aim(f"audit {PACKAGE} {version}, peak memory", megabytes, MEMORY_BOUND, "MB")
        )
    return found


def _compare(
    found: Findings, ours: list[Audited], listed: list[Audited], theirs: list[ByHand]
) -> None:
    plain = Times(tuple(each.seconds for each in listed))
    reading = Times(tuple(each.seconds for each in ours))
    hand = Times(tuple(each.seconds for each in theirs))
    steps = {
        step: Times(tuple(getattr(each, step) for each in theirs))
        for step in ("download", "unpack", "symbols")
    }
    rows = [
        ("by hand: pip, unzip, cuobjdump", told(hand.median), hand.spread, "1.00"),
        *(
            (f"  {step}", told(each.median), each.spread, f"{each.median / hand.median:.2f}")
            for step, each in steps.items()
        ),
        *(
            (name, told(each.median), each.spread, f"{each.median / hand.median:.2f}")
            for name, each in (
                ("audit, without disassembly", plain),
                ("audit, every kernel proven by disassembly", reading),
            )
        ),
    ]
    title = (
        f"{PACKAGE} {VERSION}, x86_64, {len(ours)} x (audit, by hand, audit without disassembly)"
    )
    found.tables.append(Table(title, ("way", "median", "spread", "x by hand"), tuple(rows)))
    first = ours[0]
    percent = 100 * first.fetched / first.total
    ratio = plain.median / hand.median
    found.values |= {
        "audit_s": reading.median,
        "audit_without_disassembly_s": plain.median,
        "by_hand_s": hand.median,
        "audit_without_disassembly_ratio": ratio,
        "audit_ratio": reading.median / hand.median,
        "audit_bytes_percent": percent,
    }
    found.notes.append(
        f"bytes: {first.fetched / 1e6:.0f} of {first.total / 1e6:.0f} MB. The way by hand lists symbols and "
        "proves nothing; like is compared with like, and disassembly told apart: "
        f"{told(reading.median - plain.median)} more."
    )
    rate = first.total / steps["download"].median
    for line in LINES:
        mine, hands = (
            each.median + size * (8 / (line * 1e6) - 1 / rate)
            for each, size in ((plain, first.fetched), (hand, first.total))
        )
        found.notes.append(
            f"computed for a line of {line} Mbit/s (here pip had {rate * 8 / 1e6:.0f}): "
            f"{told(mine)} against {told(hands)}, {mine / hands:.2f}"
        )
    if theirs[0].disassembly is not None:
        at_least = "at least " if theirs[0].stopped else ""
        whole = theirs[0].seconds + theirs[0].disassembly
        found.notes.append(
            f"by hand with disassembly of every Blackwell cubin: {at_least}{told(theirs[0].disassembly)} more; "
            f"the audit takes {'at most ' if at_least else ''}{reading.median / whole:.3f} of that way"
        )
        found.values["by_hand_disassembly_s"] = theirs[0].disassembly
    found.aims += [
        Aim("audit without disassembly, time x by hand", ratio, TIMES_BOUND, "", hoped=TIMES_HOPED),
        Aim("audit, bytes of the wheel", percent, BYTES_BOUND, "%"),
    ]


def audited(version: str, *, first: str = "") -> Audited:
    """Read one wheel cold, as a user does, and note what it took; `first` is run before the program."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        out, peak = folder / "out.json", folder / "peak"
        command = [PYTHON, "-c", first + WATCHED, str(peak), "audit", f"{PACKAGE}=={version}"]
        seconds = ran([*command, "--machine", "x86_64", "--no-ledger", "--json"], output=out)
        answer = json.loads(out.read_bytes())
        megabytes = int(peak.read_text()) * 1024 / 1e6
        return Audited(seconds, answer["bytes_total"], answer["bytes_fetched"], megabytes)


def by_hand(version: str, *, disassemble: bool) -> ByHand:
    """Do what somebody does without this project: whole wheel, unzip, cuobjdump over each object."""
    try:
        cuobjdump = tool("cuobjdump")
    except MatrixError as error:
        raise BenchError(str(error)) from error
    with TemporaryDirectory() as name:
        folder = Path(name)
        pip = [PYTHON, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
        download = ran([*pip, "--only-binary", ":all:", f"{PACKAGE}=={version}", "-d", name])
        (wheel,) = folder.glob("*.whl")
        unzip = which("unzip")
        unpacked = folder / "unpacked"
        unpack = ran(
            [unzip, "-q", str(wheel), "-d", str(unpacked)]
            if unzip
            else [PYTHON, "-m", "zipfile", "-e", str(wheel), str(unpacked)]
        )
        objects = sorted(unpacked.rglob("*.so"))
        start = time.perf_counter()
        for number, each in enumerate(objects):
            _list(cuobjdump, each, folder / f"symbols-{number}")
        symbols = time.perf_counter() - start
        total, stopped = None, False
        if disassemble:
            total, stopped = disassembled(cuobjdump, objects, folder)
        return ByHand(download, unpack, symbols, wheel.stat().st_size, total, stopped)


def _list(cuobjdump: str, each: Path, output: Path) -> None:
    """List symbols; an object without machine code, or one that cuobjdump refuses, is passed over."""
    try:
        ran([cuobjdump, "-symbols", str(each)], output=output)
    except BenchError as error:
        if "ended with" not in str(error):
            raise


def disassembled(cuobjdump: str, objects: list[Path], folder: Path) -> tuple[float, bool]:
    """Disassemble every cubin for Blackwell, up to a limit of time; says whether that was reached."""
    start = time.perf_counter()
    nvdisasm = tool("nvdisasm")
    for number, each in enumerate(objects):
        cubins = folder / f"cubins-{number}"
        cubins.mkdir()
        try:
            ran([cuobjdump, "-xelf", "all", str(each)], folder=cubins)
        except BenchError:
            continue
        for cubin in sorted(cubins.iterdir()):
            if any(name in cubin.name for name in BLACKWELL):
                ran([nvdisasm, str(cubin)], output=folder / "disassembly")
                if time.perf_counter() - start > DISASSEMBLY_LIMIT:
                    return time.perf_counter() - start, True
    return time.perf_counter() - start, False
