"""What the proof prints: lines that read well in a log, and the table at the end."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence

from proof.trial import Report

WIDTH = 100


def ended(report: Report) -> str:
    """What came of one part: its figures, its faults by kind and what was left out."""
    lines = [f"{report.part} (seed {report.seed}): {report.title}"]
    lines += _wrapped("cases", report.cases)
    lines += _wrapped("faults", report.faults)
    lines += [f"  not run: {reason}" for reason in report.left_out]
    return "\n".join(lines)


def _wrapped(what: str, counts: dict[str, int]) -> list[str]:
    """The counts by kind, most frequent first, in lines that are not too long."""
    words = [f"{kind} {count:,}" for kind, count in Counter(counts).most_common()]
    return (
        textwrap.wrap(f"{what}: {', '.join(words)}", WIDTH, initial_indent="  ", subsequent_indent="    ")
        if words
        else []
    )


def table(reports: Sequence[Report]) -> str:
    """All parts, a line each, and their sums."""
    rows: list[tuple[str, ...]] = [("part", "cases", "faults", "violations", "seed", "seconds")]
    rows += [_row(report.part, [report], str(report.seed), f"{report.seconds:.1f}") for report in reports]
    rows.append(_row("all", reports, "", ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *figures in rows:
        cells = [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]).rstrip())
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _row(name: str, reports: Iterable[Report], *rest: str) -> tuple[str, ...]:
    reports = list(reports)
    cases = sum(sum(report.cases.values()) for report in reports)
    faults = sum(sum(report.faults.values()) for report in reports)
    violations = sum(len(report.violations) for report in reports)
    return name, f"{cases:,}", f"{faults:,}", str(violations), *rest
