"""Run every benchmark, or those named: ``python -m benchmarks guarded_call admission``."""

from __future__ import annotations

import importlib
import sys

ALL = (
    "guarded_call",
    "threads",
    "processes",
    "admission",
    "streams",
    "recovery",
    "accounts",
    "sql",
    "redis_ledger",
    "http_ledger",
    "slices",
    "telemetry",
    "peers",
    "imports",
)

for name in sys.argv[1:] or ALL:
    print(f"\n{name}")
    importlib.import_module(f"benchmarks.{name}").main()
