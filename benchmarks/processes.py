"""Guarded calls per second of eight processes on one journal, and whether the sum is exact."""

from __future__ import annotations

import tempfile

from benchmarks.crew import work_together

CALLS = 5_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work_together("one journal", folder, CALLS, "(aim: at least 15,000)")
