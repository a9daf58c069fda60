"""`python -m probes.faults`: plant every fault, show what found it, and that the clean reference raises no alarm."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path

from probes.faults import campaign, clean, page
from probes.faults.catalogue import FAULTS
from probes.faults.fault import Fault

_STEP = 20
"""Clean runs between two lines about them."""


def main() -> int:
    """Return 0 where every fault was caught with its reason, nothing else was blamed, and no alarm was false."""
    parser = argparse.ArgumentParser(prog="python -m probes.faults", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the faults, and run none")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="this fault; again for more"
    )
    parser.add_argument("--seeds", type=int, default=200, help="clean runs, each with another seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="faults side by side")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the page for the documentation")
    asked = parser.parse_args()
    chosen = [fault for fault in FAULTS.values() if not asked.only or fault.name in asked.only]
    if unknown := set(asked.only) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    if asked.list:
        for fault in chosen:
            print(
                f"{fault.name:32} {fault.letters:3} {fault.operation:16} {fault.reason:22} {fault.text}"
            )
        return 0
    started = time.monotonic()
    outcomes = _faults(chosen, asked.jobs)
    seeds, alarms = _clean(asked.seeds, asked.jobs)
    lasted, spent = time.monotonic() - started, _spent()
    missed = [each for each in outcomes if not each.caught]
    print(
        f"\n{len(outcomes) - len(missed)} of {len(outcomes)} faults caught with their reason; "
        f"{alarms} false alarms over {seeds} clean runs; {lasted:.0f} s, {spent:.0f} s of processors"
    )
    if asked.write:
        asked.write.write_text(
            page.written(
                outcomes, seeds=seeds, alarms=alarms, seconds=lasted, spent=spent, cores=asked.jobs
            ),
            encoding="utf-8",
        )
    return 1 if missed or alarms else 0


def _faults(chosen: list[Fault], jobs: int) -> list[campaign.Outcome]:
    """Run them with a line for each, and return outcomes in the order of the list."""
    outcomes = {}
    print(f"{'':>9} {'fault':32} {'class':5} {'reason':22} found by")
    for count, outcome in enumerate(campaign.run(chosen, jobs=jobs), 1):
        fault = outcome.fault
        outcomes[fault.name] = outcome
        found = ", ".join(outcome.found) or "NOTHING"
        print(
            f"{count:4}/{len(chosen):<4} {fault.name:32} {fault.letters:5} {fault.reason:22} {found}",
            flush=True,
        )
        for complaint in outcome.complaints:
            print(f"{'':>9} !! {complaint}", flush=True)
    return [outcomes[fault.name] for fault in chosen]


def _clean(seeds: int, jobs: int) -> tuple[int, int]:
    """Run the clean reference; return how often, and how many alarms there were."""
    if not seeds:
        return 0, 0
    count, told = campaign.isolated()
    alarms = len(told)
    for each in told:
        print(f"clean: {each}", flush=True)
    print(f"clean: the whole suite by itself, {count} results, {alarms} alarms", flush=True)
    for seed, results, said in clean.alarms(range(seeds), jobs):
        alarms += len(said)
        for each in said:
            print(f"clean: seed {seed}: {each}", flush=True)
        if sys.stdout.isatty() or (seed + 1) % _STEP == 0:
            print(
                f"clean: {seed + 1}/{seeds} seeds, {results} results each, {alarms} alarms",
                flush=True,
            )
    return seeds, alarms


def _spent() -> float:
    """Return the seconds of processors that all that ended has taken: on a busy machine, less than it lasted."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    raise SystemExit(main())
