"""Attack budgeted in every known way, and print what came of it: ``python -m proof --part simulator --seed 7``."""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from proof import part_process, parts
from proof.parts import Part
from proof.table import ended, table
from proof.trial import Report

_printing = threading.Lock()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for. Returns 1 if anything was violated, or could not be tried where it must be."""
    parser = argparse.ArgumentParser(prog="python -m proof", description=__doc__)
    parser.add_argument("--long", action="store_true", help="the long form, under 40 minutes; else about two")
    parser.add_argument("--part", nargs="+", action="extend", metavar="NAME", help="only these parts")
    parser.add_argument("--seed", type=int, help="what all randomness comes of; else drawn, and 0 where CI is set")
    parser.add_argument("--case", metavar="SUBJECT:NUMBER", help="only this case of the one part that is named")
    parser.add_argument("--jobs", type=int, default=max(2, os.cpu_count() or 2), help="parts at a time")
    asked = parser.parse_args(arguments)
    there = parts.names()
    names = asked.part or there
    if unknown := sorted(set(names).difference(there)):
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(there)}")
    if asked.case and len(names) != 1:
        parser.error("a case belongs to a part: name that with --part")
    seed = asked.seed
    if seed is None:
        # One seed in CI: its verdict belongs to a commit, not to a run.
        seed = 0 if os.environ.get("CI") else random.randrange(2**32)
    print(f"proof: {'long' if asked.long else 'short'} form, seed {seed} (to repeat: --seed {seed})", flush=True)
    started = time.monotonic()
    chosen, reports = loaded(names, seed)
    reports += run_all(chosen, seed, long=asked.long, only=asked.case, jobs=asked.jobs)
    print(f"\n{table(reports)}\n{time.monotonic() - started:.0f} seconds in all", flush=True)
    return verdict(reports)


def loaded(names: Sequence[str], seed: int) -> tuple[list[Part], list[Report]]:
    """The parts of these names, and what there is to say of those that cannot be had."""
    chosen, reports = [], []
    for name in names:
        try:
            chosen.append(parts.load(name))
        except ImportError as error:
            reports.append(Report(name, "", seed, left_out=[str(error)]))
            say(f"{name}: cannot run: {error}")
    return chosen, reports


def run_all(chosen: Sequence[Part], seed: int, *, long: bool, only: str | None, jobs: int) -> list[Report]:
    """Run parts, several at a time, and those alone that must be. Returns their reports in the order of the parts.

    In the long form each runs with several seeds, if there are cores for it.
    """
    seeds = max(1, jobs // 2) if long and only is None else 1
    runs = [(part, seed + i) for part in chosen for i in range(seeds)]

    def one(run: tuple[Part, int]) -> Report:
        part, seed = run
        report = part_process.run(part, seed, long=long, only=only, tell=lambda text: say_violation(part.name, text))
        say(f"\n{ended(report)}\n  {len(report.violations)} violations, {report.seconds:.1f} s")
        return report

    # The longest first: none is left to run by itself at the end.
    together = sorted((run for run in runs if not run[0].alone), key=lambda run: -run[0].seconds(long=long))
    with ThreadPoolExecutor(jobs) as pool:
        reports = list(pool.map(one, together))
    reports += [one(run) for run in runs if run[0].alone]
    order = {(part.name, seed): place for place, (part, seed) in enumerate(runs)}
    return sorted(reports, key=lambda report: order[report.part, report.seed])


def say(text: str) -> None:
    """Print some lines, with none of another part's between them."""
    with _printing:
        print(text, flush=True)


def say_violation(part: str, text: str) -> None:
    """Print what was violated, every line with its part."""
    first, *rest = text.splitlines()
    say("\n".join([f"\nVIOLATION in {part}: {first}", *(f"  {part} | {line}" for line in rest)]))


def verdict(reports: Sequence[Report]) -> int:
    """The exit code."""
    if any(report.violations for report in reports):
        return 1
    left_out = [f"{report.part}: {reason}" for report in reports for reason in report.left_out]
    if left_out and os.environ.get("SKIPS_FAIL"):
        print("SKIPS_FAIL: not everything could be tried here\n" + "\n".join(left_out), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
