"""Servers in processes of their own: started, waited for, looked at, and ended."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SECONDS = 120
"""How long a server may take to listen: the slowest one imports for half a minute on a busy machine."""


class Served(NamedTuple):
    """A server in a process of its own, on Linux.

    Attributes:
        port: of loopback, where it listens.
        process: its process.
    """

    port: int
    process: subprocess.Popen[bytes]

    @property
    def resident(self) -> float:
        """Megabytes of memory that it takes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    @property
    def computed(self) -> float:
        """Seconds of processor time that it has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[Served]:
    """A server that listens on a free port of loopback, which takes the place of ``{port}`` in its command."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [word.replace("{port}", str(port)) for word in command],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        patience = time.monotonic() + SECONDS
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            assert process.poll() is None, f"{command[0]} ended before it listened, with exit code {process.returncode}"
            assert time.monotonic() < patience, f"{command[0]} does not listen after {SECONDS} s"
            time.sleep(0.02)
        yield Served(port, process)
        process.terminate()
        process.wait(SECONDS)
    finally:
        process.kill()
        process.wait()
