"""A gateway as its command starts it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Started:
    """``budgeted gateway`` as a process, and what it writes."""

    def __init__(self, *options: str, folder: Path, **environment: str) -> None:
        command = [sys.executable, "-m", "budgeted", "gateway", "--port", "0", *options]
        inherited = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        self.process = subprocess.Popen(
            command,
            env={**inherited, "PYTHONWARNINGS": "", "BUDGETED_HOME": str(folder / "home"), **environment},
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.said: list[str] = []
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith("  limits"):
                break
        found = re.search(r"https?://[^, ]+:\d+", "".join(self.said))
        assert found is not None, self.said
        self.url = found[0]
        self._reading = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reading.start()

    def _read(self, lines: Iterator[str]) -> None:
        self.said.extend(lines)

    def end(self) -> int:
        with self.process:  # which closes what it writes to
            self.process.terminate()
            self._reading.join(30)
            return self.process.wait(30)

    def lines(self) -> list[dict[str, Any]]:
        """Its access log."""
        return [
            json.loads(line.partition("budgeted.gateway ")[2]) for line in self.said if "budgeted.gateway {" in line
        ]
