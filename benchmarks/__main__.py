"""Run every benchmark, or those named: ``python -m benchmarks guarded_call admission``."""

from __future__ import annotations

import argparse
import importlib

ALL = (
    "guarded_call",
    "growth",
    "threads",
    "processes",
    "admission",
    "streams",
    "transport",
    "recovery",
    "accounts",
    "sql",
    "redis_ledger",
    "http_ledger",
    "slices",
    "fleet",
    "gateway",
    "litellm_proxy",
    "telemetry",
    "imports",
    "peers",
)
"""In this order: it ends with the table and the chart that others are in."""

parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument("name", nargs="*", metavar="NAME", help=f"one of {', '.join(ALL)}; all of them if none is named")
names = parser.parse_args().name
if unknown := set(names).difference(ALL):
    parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
for name in names or ALL:
    print(f"\n{name}")
    importlib.import_module(f"benchmarks.{name}").main()
