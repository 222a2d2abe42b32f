"""A part runs in a process of its own: what it breaks, forgets or is killed by is not the others' affair.

The process sends lines of JSON through a pipe: a text for each violation, at once, and its report at the end. What it
prints otherwise is shown if it dies of something.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from proof import ROOT, parts
from proof.parts import Part
from proof.trial import CannotRun, Enough, Report, Trial, described

GRACE = 120.0
"""Seconds that a part may take beyond twice what it is to take, before it counts as hanging."""

LAST_LINES = 40
"""Lines of a dead process's output that are shown."""


def run(part: Part, seed: int, *, long: bool, only: str | None, tell: Callable[[str], None]) -> Report:
    """Run a part in a process of its own, until it ends.

    Args:
        part: which.
        seed: what its randomness comes of.
        long: whether in its long form.
        only: its one case to run; what it prints is then let through.
        tell: told of each violation.
    """
    started = time.monotonic()
    limit = 2 * part.seconds(long=long) + GRACE
    report = Report(part.name, part.title, seed, violations=[], left_out=[])
    with tempfile.TemporaryFile("w+") as output, _folder(keep=only is not None) as folder:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "proof.part_process", part.name, str(seed), str(writing), str(folder)]
        process = subprocess.Popen(
            [*command, str(limit), *(["--long"] if long else []), *(["--case", only] if only else [])],
            cwd=ROOT,
            env=_environment(folder),
            pass_fds=[writing],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=None if only else output,
            stderr=None if only else output,
        )
        os.close(writing)
        ended = False
        try:
            for message in _messages(reading):
                if isinstance(message, str):
                    report.violations.append(message)
                    tell(message)
                else:
                    report, ended = message, True
            process.wait()
        finally:
            # What it has started goes with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if not ended:
            output.seek(0)
            last = "".join(output.readlines()[-LAST_LINES:])
            text = f"the part's process ended with code {process.returncode}, unasked\n{last}"
            report.violations.append(text)
            report.seconds = time.monotonic() - started
            tell(text)
    return report


def _environment(folder: Path) -> dict[str, str]:
    """The same for whoever repeats a part: no order of sets, no ledger and no setting of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BUDGETED_")}
    return kept | {"PYTHONHASHSEED": "0", "BUDGETED_HOME": str(folder / "home"), "TMPDIR": str(folder)}


@contextlib.contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="proof-"))
    try:
        yield folder
    finally:
        if keep:
            print(f"files are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _messages(reading: int) -> Iterator[str | Report]:
    decoder = msgspec.json.Decoder(str | Report)
    with open(reading, "rb") as lines:
        for line in lines:
            yield decoder.decode(line)


def main() -> None:
    """Be the process of a part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part")
    parser.add_argument("seed", type=int)
    parser.add_argument("pipe", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("limit", type=float)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--case")
    asked = parser.parse_args()
    os.set_inheritable(asked.pipe, False)
    faulthandler.enable()
    # A part that hangs says where, and ends.
    faulthandler.dump_traceback_later(asked.limit, exit=True)

    def send(message: str | Report) -> None:
        os.write(asked.pipe, msgspec.json.encode(message) + b"\n")

    part = parts.load(asked.part)
    directory = asked.folder / "files"
    directory.mkdir()
    trial = Trial(
        part.name,
        part.title,
        asked.seed,
        part.seconds(long=asked.long),
        directory,
        long=asked.long,
        only=asked.case,
        tell=send,
    )
    try:
        part.run(trial)
    except (CannotRun, pytest.skip.Exception) as reason:
        trial.left_out(str(reason))
    except Enough:
        pass
    except Exception as error:  # noqa: BLE001 - a part that fails has proved nothing
        with contextlib.suppress(Enough):
            trial.violation(described(error))
    send(trial.report())


if __name__ == "__main__":
    main()
