"""What ``from budgeted import budget`` takes beyond ``import opentelemetry.context``."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.measuring import line

CODE = """
import sys
import time
import opentelemetry.context
started = time.perf_counter()
from budgeted import budget
print(time.perf_counter() - started)
loaded = {"jinja2", "openai", "redis", "sqlalchemy", "starlette", "tiktoken"}.intersection(sys.modules)
assert not loaded, f"it loads {loaded}"
with budget("alice"):
    pass
"""


def main() -> None:
    command = [sys.executable, "-c", CODE]
    seconds = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(7)]
    line(
        "from budgeted import budget, beyond opentelemetry.context",
        f"{min(seconds) * 1000:.0f} ms",
        "(aim: at most 100)",
    )
