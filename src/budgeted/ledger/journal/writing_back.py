"""Writing a ledger anew, in a new generation, from what somebody knows of it."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

import msgspec

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger.accounts import GLOBAL, is_declaration, known_to_people
from budgeted.ledger.journal import checked_lines, segment_files, snapshot_files
from budgeted.ledger.journal.host_lock import HostLock
from budgeted.ledger.journal.origin import Known, Origin, Position
from budgeted.ledger.memory.state import State
from budgeted.money import format_usd
from budgeted.system import current as system

logger = logging.getLogger("budgeted")


def begin_generation(directory: Path, host: HostLock, origin: Origin, state: State, above: int) -> Position:
    """Write a snapshot and an empty journal, and have the lock tell of them. The caller has the lock.

    Whoever dies in between leaves the generation before, or one that is whole.

    Args:
        directory: the ledger's own.
        host: its lock.
        origin: the new generation.
        state: what it begins with.
        above: the number of a segment that the new one is to be behind.

    Returns:
        The new journal's end.
    """
    numbers = [*segment_files.numbers(directory, "journal"), *segment_files.numbers(directory, "snapshot"), above]
    segment = max(numbers) + 1
    snapshot_files.write_snapshot(directory, segment, (state.encode(),), origin)
    segment_files.create(directory, segment, origin)
    host.begin(origin)
    end = segment, len(checked_lines.first_line(segment, origin))
    host.set_mark(end)
    host.note_boot()
    host.synced = end
    return end


def set_generation_aside(directory: Path, before: int) -> None:
    """Rename the segments before a number, which nobody reads any more: an operator may want to see them."""
    for kind in ("journal", "snapshot"):
        for number in segment_files.numbers(directory, kind):
            if number < before:
                path = directory / f"{kind}-{number:08d}"
                with contextlib.suppress(OSError):
                    path.rename(path.with_name(f"{path.name}.cut-before-{before}"))


def write_back(directory: Path, shared: HostLock, state: State, known: Known, fd: int) -> HostLock:
    """Write what a process knows of a ledger that is gone or damaged, and have those who share its lock look for it.

    Args:
        directory: the ledger's own; it is made if it is gone.
        shared: the lock as this process knew it, which it has.
        state: what it knows.
        known: how far that is read.
        fd: the journal that it was read from.

    Returns:
        The ledger's lock as it stands now, taken.

    Raises:
        LedgerCorruptError: something else stands there, or somebody knows more.
    """
    lost = _known_to_others(shared, known, directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    host = shared if shared.in_place() else HostLock(directory / "lock")
    try:
        if host is not shared:
            host.acquire(10)
        host.sign()
        _refuse_another(directory, host, known, fd)
        origin = Origin(known.origin.ledger, (*known.origin.ends, known.position))
        segment, _ = begin_generation(directory, host, origin, state, known.segment)
    except BaseException:
        if host is not shared:
            host.close()
        raise
    set_generation_aside(directory, segment)
    if host is not shared:
        shared.give_up(origin)
    if lost:
        logger.error("budgeted: what is written back to %s lacks what others knew: %s", directory, lost)
    logger.warning("budgeted: %s was written back: %s", directory, in_words(state))
    return host


def _refuse_another(directory: Path, host: HostLock, known: Known, fd: int) -> None:
    """Refuse to write over what is not the ledger that somebody knew, or has gone on from an older copy of it."""
    told = ""
    for origin in (Origin(host.ledger, ((0, 0),) * max(0, host.generation)), *origins(directory)):
        if origin.ledger and origin.ledger != known.origin.ledger:
            told = "another ledger was made there meanwhile"
        elif origin.generation > known.origin.generation:
            told = "another process has repaired it meanwhile, and knew less than this one"
    if not told and _went_on(directory, known, fd):
        told = "an older copy was put in place, and other processes have gone on from it"
    if told:
        msg = (
            f"{directory} cannot be written back: {told}. Nothing was changed; end whoever uses it, move it away, "
            f"and repair again"
        )
        raise LedgerCorruptError(msg)


def _went_on(directory: Path, known: Known, fd: int) -> bool:
    """Whether the files that stand there hold lines that are not among those that were read."""
    for number in segment_files.numbers(directory, "journal"):
        path = segment_files.journal_path(directory, number)
        if number > known.segment and not segment_files.is_empty(directory, number):
            return True
        if number == known.segment and not system.is_at(fd, path):
            _, good = checked_lines.intact(path)
            if good > known.offset or path.read_bytes()[:good] != system.read_at(fd, good, 0):
                return True
    return False


def origins(directory: Path) -> list[Origin]:
    """Which ledgers the segments and snapshots say that they are of, oldest first, as far as they can be read."""
    found = []
    for number in segment_files.numbers(directory, "snapshot"):
        with contextlib.suppress(LedgerCorruptError, msgspec.DecodeError, OSError):
            found.append(snapshot_files.read_snapshot(directory, number)[0])
    for number in segment_files.numbers(directory, "journal"):
        with contextlib.suppress(LedgerError, OSError):
            records, _ = checked_lines.intact(segment_files.journal_path(directory, number))
            found += [record.origin for record in records[:1] if isinstance(record, checked_lines.Header)]
    return found


def _known_to_others(host: HostLock, known: Known, directory: Path) -> str:
    """What others had acknowledged and this process has not read, in words; "" if nothing.

    Raises:
        LedgerCorruptError: who acknowledged it is alive, and is to repair the ledger.
    """
    if host.ledger != known.origin.ledger or host.generation != known.origin.generation or host.mark <= known.position:
        return ""
    (segment, offset), pid = host.mark, host.holder()
    told = f"process {pid} had acknowledged lines up to byte {offset} of journal-{segment:08d}"
    if pid != os.getpid() and system.is_process(pid):
        msg = (
            f"{directory} is not written back by this process: {told}, which are more than it has read. "
            f"Call BudgetManager.repair() in that process first, or end it"
        )
        raise LedgerCorruptError(msg)
    return told


def count(state: State) -> int:
    """How many accounts, calls in flight and uncertain charges there are."""
    accounts = sum(not is_declaration(name) for name in state.accounts)
    return accounts + len(state.holds) + len(state.charges.uncertain)


def in_words(state: State) -> str:
    """What a process knows of a ledger, in words: accounts, USD, calls in flight by their ids."""
    state.fold()
    spent = state.accounts[GLOBAL].usd if GLOBAL in state.accounts else 0
    accounts = known_to_people(state.accounts.values())
    rest = sum(account.usd for account in accounts if account.id != GLOBAL)
    limits = sum(len(account.slots) for account in accounts)
    held = sum(one.usd for one, _ in state.holds.values())
    ids = ", ".join([*list(state.holds)[:5], *["..."] * (len(state.holds) > 5)])
    return (
        f"{len(accounts)} accounts with {limits} limits, {format_usd(spent)} charged to the global account and "
        f"{format_usd(rest)} to others, {len(state.holds)} calls in flight for {format_usd(held)}"
        f"{f' ({ids})' if ids else ''}"
    )
