"""A program that ``budgeted run`` has started, or a child of it: it takes part in what the run counts and limits."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from budgeted.errors import refusal_behind
from budgeted.manager import limits_of_operator
from budgeted.manager.payers_as_text import place_of
from budgeted.manager.project_payer import ProjectPayer
from budgeted.payers import scope
from budgeted.system.forks import at_fork
from budgeted.telemetry import run_notes

VARIABLE: Final = "BUDGETED_RUN"
"""Names the folder of the run, and those of the runs that it is inside."""

_FILE: Final = "run.json"


class Run(msgspec.Struct, frozen=True):
    """What processes are told of the run that they belong to.

    Args:
        key: of the block that all its calls are charged to; a user's part has the user's name behind it.
        place: tells the project and its ledger from others, as :func:`place_of`.
        limit: the global limits that the run was given, as text; "" if it was given none.
    """

    key: str
    place: str
    limit: str


def tell(folder: Path, run: Run) -> None:
    """Write down for the processes of a run what it is."""
    (folder / _FILE).write_bytes(msgspec.json.encode(run))


def take_part(environment: Mapping[str, str], payers: Sequence[ProjectPayer]) -> None:
    """Count as part of the runs that an environment names, as far as they have not ended.

    Args:
        environment: such as ``os.environ``.
        payers: those that the environment names.
    """
    folders = [Path(name) for name in environment.get(VARIABLE, "").split(os.pathsep) if name]
    runs = [(folder, run) for folder in folders if (run := _told(folder)) is not None]
    for payer in payers:
        for _, run in runs:
            if place_of(payer) == run.place:
                scope.counted_apart.append((payer, run.key))
                if run.limit:
                    limits_of_operator.named.setdefault((payer.project_name, payer.ledger.place), run.limit)
    if not runs:
        return
    run_notes.write_to([folder for folder, _ in runs])
    run_notes.note(run_notes.STARTED)
    at_fork(before=partial(run_notes.note, run_notes.FORKING), after_in_child=_note_start_of_fork)
    atexit.register(_note_end, os.getpid())


def _told(folder: Path) -> Run | None:
    """What a run is; None if it has ended, and this is a process that it left behind."""
    try:
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=Run)
    except (OSError, msgspec.MsgspecError):
        return None


def _note_start_of_fork() -> None:
    run_notes.note(run_notes.STARTED)
    run_notes.note(run_notes.FORKED)


def _note_end(process: int) -> None:
    """Note that a refusal which nobody handled has ended this process, unless it is a forked child of the one meant.

    So may the end of a program that it had started: only whoever has refused it something knows.

    So does an error that came of one, as libraries wrap it. Python keeps it whatever hook shows it. Tools that run
    tests keep one there too, which they have caught: theirs comes from frames with others around them.
    """
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    trace: TracebackType | None = getattr(sys, "last_traceback", None)
    outermost = trace is None or trace.tb_frame.f_back is None
    if os.getpid() != process or not outermost or not isinstance(error, BaseException):
        return
    if refusal_behind(error):
        run_notes.note(run_notes.ENDED_BY_REFUSAL)
    elif isinstance(error, subprocess.CalledProcessError):
        run_notes.note(run_notes.ENDED_BY_PROGRAM)
