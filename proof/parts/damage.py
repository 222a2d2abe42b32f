"""Damage to each file of a ledger on disk: truncated, flipped, zeroed, mixed up, older, another's or missing.

At rest, whoever opens it finds exactly what was there, or is refused, or is told in an ERROR or WARNING; never less in
silence. What is refused is repaired to the balances behind one of its lines, and says what was lost. While a process
has it open, that process refuses or goes on exactly, and writes back exactly what it knew.

Not tried: a lock file that is cut short while it is open. The system ends whoever reads it then (SIGBUS).
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from ledgers import ALICE, AT, BOB, calls, canonical, charge, check, dump, give, held, hold, usd

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.journal import checked_lines, segment_files, snapshot_files
from budgeted.ledger.journal import ledger as journal
from budgeted.ledger.journal.checked_lines import Continued, Header
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.journal.repair import Repaired, repair
from budgeted.ledger.memory.state import State
from budgeted.ledger.spending_records import Used
from proof.told_log import listening
from proof.trial import Case, Trial

SHORT, LONG = 15.0, 420.0

LINES = 14
"""Lines of a segment here."""

Damage = Callable[[Path], str]
"""Does something to a ledger's directory, and says what."""


class Original:
    """A ledger of several segments and snapshots at rest, older copies of it, and another ledger beside it.

    Attributes:
        directory: it.
        right: what it knows.
        before: what it knew behind each of its lines.
        older: copies of it, oldest first.
        other: another ledger, made alike.
    """

    def __init__(self, folder: Path) -> None:
        self.directory, self.other = folder / "ledger", folder / "other"
        self.older: list[Path] = []
        self.right = self._make(self.directory, folder)
        self._make(self.other, None)
        self.before = {*_states(self.directory), self.right}
        for copy in self.older:
            self.before.update(_states(copy))

    def _make(self, directory: Path, copies: Path | None) -> bytes:
        ledger = JournalLedger(directory)
        give(ledger, GLOBAL, usd(10**6), calls(10**6))
        give(ledger, ALICE, usd(10**5))
        for number in range(1, 13):
            charge(ledger, number, GLOBAL, ALICE)
            if number == 4:
                ledger.settle(hold(ledger, 20, GLOBAL).id, Used(11, 3, 4), AT, "timed out")
            if number == 7:
                give(ledger, BOB, usd(7))
                ledger.reset(ALICE, AT)
            ledger.flush()
            if copies is not None and number % 2:
                self.older.append(shutil.copytree(directory, copies / f"older{number}"))
        right = dump(ledger)
        ledger.close()
        return right

    def files(self) -> list[Path]:
        """Its files, relative to it."""
        return sorted(path.relative_to(self.directory) for path in self.directory.rglob("*") if path.is_file())


def _states(directory: Path) -> Iterator[bytes]:
    """What a ledger knows at the beginning of the oldest segment that it can be read from, and behind each line."""
    for start in [1, *segment_files.numbers(directory, "snapshot")]:
        if start not in segment_files.numbers(directory, "journal"):
            continue
        state, number = State(), start
        if start in segment_files.numbers(directory, "snapshot"):
            _, state = snapshot_files.read_snapshot(directory, start)
        yield canonical(state)
        while number:
            path, number = segment_files.journal_path(directory, number), 0
            for record in checked_lines.read(path.read_bytes(), 0, path, 0)[0]:
                if isinstance(record, Continued):
                    number = record.segment
                    state.prune()
                elif not isinstance(record, Header):
                    state.apply(record)
                yield canonical(state)


# -- kinds of damage


def truncations(original: Original) -> list[Damage]:
    """Each file, cut off at each size."""
    return [
        _named(f"{file} cut off at {size}", lambda to, file=file, size=size: os.truncate(to / file, size))
        for file in original.files()
        for size in range((original.directory / file).stat().st_size)
    ]


def flips(original: Original) -> list[Damage]:
    """Each bit of each file."""
    return [
        _named(f"bit {bit} of {file} flipped", lambda to, file=file, bit=bit: _flip(to / file, bit))
        for file in original.files()
        for bit in range(8 * (original.directory / file).stat().st_size)
    ]


def zeroes(original: Original) -> list[Damage]:
    """Runs of NULs in each file, and behind it."""
    found = []
    for file in original.files():
        size = (original.directory / file).stat().st_size
        for start, length in itertools.product(range(0, size, 23), (1, 16, 100, 512)):
            what = f"{length} NULs at {start} of {file}"
            found.append(_named(what, lambda to, f=file, s=start, n=length: _overwrite(to / f, s, bytes(n))))
        for length in (1, 100, 5000):
            what = f"{length} NULs behind {file}"
            found.append(_named(what, lambda to, f=file, s=size, n=length: _overwrite(to / f, s, bytes(n), more=True)))
    return found


def lines_mixed_up(original: Original) -> list[Damage]:
    """Lines of journals swapped, lost, repeated, and taken from the other ledger."""
    found: list[Damage] = []
    names = [path.name for path in sorted(original.directory.glob("journal-*"))]
    counts = {name: len((original.directory / name).read_bytes().splitlines()) for name in names}
    for name in names:
        for one, other in itertools.combinations(range(counts[name]), 2):
            found.append(_named(f"lines {one} and {other} of {name} swapped", _on_lines(name, _swap(one, other))))
        for one in range(counts[name]):
            found.append(_named(f"line {one} of {name} lost", _on_lines(name, _lose(one))))
            found.append(_named(f"line {one} of {name} repeated", _on_lines(name, _repeat(one))))
            alien = (original.other / name).read_bytes().splitlines(keepends=True)[one]
            found.append(_named(f"line {one} of {name} is another's", _on_lines(name, _put(one, alien))))
    return found


def files_mixed_up(original: Original) -> list[Damage]:
    """Two files swapped, or one in place of another; and each file that is another ledger's."""
    found: list[Damage] = []
    for one, other in itertools.permutations(original.files(), 2):
        found.append(_named(f"{one} in place of {other}", lambda to, a=one, b=other: _copy(to / a, to / b)))
        found.append(_named(f"{one} and {other} swapped", lambda to, a=one, b=other: _exchange(to / a, to / b)))
    both = [file for file in original.files() if (original.other / file).exists()]
    found += [_named(f"another's {file}", lambda to, f=file: _copy(original.other / f, to / f)) for file in both]
    return found


def older_copies(original: Original) -> list[Damage]:
    """Each file as it was before, and all files of a kind, or all but the lock."""
    found: list[Damage] = []
    for old in original.older:
        there = sorted(path.name for path in old.iterdir() if path.is_file())
        found += [_named(f"{name} of {old.name}", lambda to, o=old, n=name: _copy(o / n, to / n)) for name in there]
        found.append(_named(f"all but the lock of {old.name}", lambda to, o=old: _put_back(o, to)))
    return found


def missing(original: Original) -> list[Damage]:
    """Each set of files gone, folders too, but for all of them."""
    names = sorted(path.name for path in original.directory.iterdir())
    sets = itertools.chain.from_iterable(itertools.combinations(names, n) for n in range(1, len(names)))
    return [_named(f"{', '.join(gone)} gone", lambda to, gone=gone: _remove(to, gone)) for gone in sets]


KINDS: dict[str, tuple[Callable[[Original], list[Damage]], int, int]] = {
    "truncation": (truncations, 30, 1500),
    "bit": (flips, 60, 4500),
    "NULs": (zeroes, 20, 600),
    "lines": (lines_mixed_up, 20, 400),
    "files": (files_mixed_up, 12, 100),
    "older": (older_copies, 12, 100),
    "missing": (missing, 12, 100),
}
"""What is damaged, and how many of them the short and the long form try."""


SHORTENING = ("truncation", "files")
"""Kinds that may leave a lock file too short to be read where it is open: see above."""


def run(trial: Trial) -> None:
    """Try each kind of damage at rest, then while the ledger is open."""
    logger = logging.getLogger("budgeted")
    logger.propagate = False
    with mock.patch.object(journal, "ROTATE_LINES", LINES), mock.patch.object(JournalLedger, "sweep", return_value=0):
        original = Original(trial.directory)
        for kind, (make, short, long) in KINDS.items():
            found = make(original)
            # Drawn from the seed, so that a case keeps its number.
            order = random.Random(f"damage {trial.seed} {kind}").sample(range(len(found)), len(found))
            chosen = [found[i] for i in order[:long]]
            trial.each_case(kind, chosen, lambda case, damage: at_rest(case, original, damage), short)
            running = [one for one in chosen if kind not in SHORTENING or not _of_the_lock(one)]
            trial.each_case(
                f"{kind}, open", running[: long // 5], lambda case, damage: in_use(case, original, damage), short // 4
            )
        trial.random_cases("owners", lambda case: owners(case, original), 0.1)


def at_rest(case: Case, original: Original, damage: Damage) -> None:
    """Damage a copy that nobody has open, and open it."""
    copy = shutil.copytree(original.directory, case.directory / "ledger")
    with listening(logging.WARNING) as told:
        case.fault(case.subject, damage(copy))
        try:
            ledger = JournalLedger(copy)
        except LedgerError as error:
            refused = str(error)
            case.tell(f"refused: {refused}")
        else:
            refused = ""
        if refused:
            assert str(copy) in refused, "the refusal does not say what it is about"
            repaired_at_rest(case, original, copy)
            return
        found = dump(ledger)
        if found != original.right:
            case.tell(f"told: {told.texts}")
            assert found in original.before, "balances that there have never been"
            assert told.texts, "less than was acknowledged, in silence"
        charge(ledger, 1, GLOBAL)
        sound(ledger)
        found = dump(ledger)
        ledger.close()
        again = JournalLedger(copy)
        assert dump(again) == found
        again.close()


def repaired_at_rest(case: Case, original: Original, copy: Path) -> None:
    """What is left is balances that there were, and what was lost is told."""
    try:
        done = repair(copy)
    except LedgerError as error:
        case.tell(f"not repaired: {error}")
        done = repair(copy, anew=True)
        allowed = {canonical(State())}
    else:
        allowed = original.before
    case.tell(f"repaired: {done}")
    ledger = JournalLedger(copy)
    found = dump(ledger)
    assert found in allowed, "repaired to balances that there have never been"
    if found != original.right:
        assert done != Repaired(), "less than was acknowledged, and the repair said nothing"
        assert done.told, "less than was acknowledged, and the repair said nothing"
    give(ledger, GLOBAL, usd(10**6))
    charge(ledger, 1, GLOBAL)
    sound(ledger)
    found = dump(ledger)
    ledger.close()
    assert repair(copy) == Repaired(), "a repaired ledger is not fine"
    again = JournalLedger(copy)
    assert dump(again) == found
    again.close()


def in_use(case: Case, original: Original, damage: Damage) -> None:
    """Damage one that a process has open; it goes on exactly, or refuses and writes back what it knew."""
    copy = shutil.copytree(original.directory, case.directory / "ledger")
    ledger = JournalLedger(copy)
    second = JournalLedger(copy)
    charge(ledger, 5, GLOBAL, ALICE)
    right = dump(second)
    assert dump(ledger) == right
    case.fault(f"{case.subject}", damage(copy))
    ledger.upkeep()
    try:
        assert dump(ledger) == right, "other balances, in silence"
    except LedgerError as error:
        case.tell(f"refused: {error}")
        assert canonical(ledger._state) == right, "what was known was forgotten"
    try:
        ledger.repair()
    except LedgerError as error:
        case.tell(f"not repaired: {error}")
        shutil.rmtree(copy)
        ledger.repair()
    assert dump(ledger) == right, "not what was known"
    charge(second, 7, GLOBAL)
    sound(ledger, files=False)
    found = dump(ledger)
    assert dump(second) == found
    for one in (ledger, second):
        one.close()
    # What was damaged and not read again by now is found, or was no damage.
    try:
        again = JournalLedger(copy)
    except LedgerError as error:
        case.tell(f"refused later: {error}")
    else:
        assert dump(again) == found, "other balances later, in silence"
        again.close()


def sound(ledger: JournalLedger, *, files: bool = True) -> None:
    """No figure contradicts another, and the files say the same, unless their newest snapshot is what was damaged."""
    with contextlib.suppress(LedgerCorruptError), contextlib.ExitStack() as stack:
        if not files:
            stack.enter_context(mock.patch("ledgers.replayed", return_value=dump(ledger)))
        check(ledger)


def owners(case: Case, original: Original) -> None:
    """Damage to what tells that processes are alive: no call of a living one is charged meanwhile."""
    copy = shutil.copytree(original.directory, case.directory / "ledger")
    one, other = JournalLedger(copy), JournalLedger(copy)
    mine = hold(one, 30, GLOBAL)
    before = held(other)
    folder = copy / "owners"
    what = case.rng.choice(["the folder removed", "the file removed", "the file replaced", "the folder replaced"])
    case.fault("owners", what)
    if what == "the folder removed":
        shutil.rmtree(folder)
    elif what == "the file removed":
        (folder / one.owner).unlink()
    elif what == "the file replaced":
        (folder / one.owner).unlink()
        (folder / one.owner).mkdir()
    else:
        folder.rename(copy / ".owners")
        folder.touch()
    for _ in range(case.rng.randrange(3)):
        with contextlib.suppress(LedgerError):
            other.upkeep()
    with mock.patch.object(JournalLedger, "sweep", _sweep), contextlib.suppress(LedgerError):
        assert other.sweep() == 0, "a living process passed for dead"
    assert held(other) == before
    with contextlib.suppress(LedgerError):
        one.upkeep()
    one.settle(mine.id, Used(30), AT)
    sound(other)
    for ledger in (one, other):
        with contextlib.suppress(LedgerError):
            ledger.close()


_sweep = JournalLedger.sweep


# -- what damage is made of


def _named(what: str, do: Callable[[Path], object]) -> Damage:
    def damage(to: Path) -> str:
        do(to)
        return what

    damage.__name__ = what
    return damage


def _of_the_lock(damage: Damage) -> bool:
    return "lock" in damage.__name__


def _flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def _overwrite(path: Path, start: int, data: bytes, *, more: bool = False) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data if more else data[: size - start])


def _on_lines(name: str, change: Callable[[list[bytes]], None]) -> Callable[[Path], None]:
    def do(to: Path) -> None:
        lines = (to / name).read_bytes().splitlines(keepends=True)
        change(lines)
        (to / name).write_bytes(b"".join(lines))

    return do


def _swap(one: int, other: int) -> Callable[[list[bytes]], None]:
    def change(lines: list[bytes]) -> None:
        lines[one], lines[other] = lines[other], lines[one]

    return change


def _lose(one: int) -> Callable[[list[bytes]], None]:
    return lambda lines: lines.__delitem__(one)


def _repeat(one: int) -> Callable[[list[bytes]], None]:
    return lambda lines: lines.insert(one, lines[one])


def _put(one: int, line: bytes) -> Callable[[list[bytes]], None]:
    return lambda lines: lines.__setitem__(one, line)


def _copy(one: Path, to: Path) -> None:
    """Copied in place: whoever has it open has the new content."""
    to.write_bytes(one.read_bytes())


def _exchange(one: Path, other: Path) -> None:
    data = one.read_bytes()
    _copy(other, one)
    other.write_bytes(data)


def _put_back(old: Path, to: Path) -> None:
    for path in to.iterdir():
        if path.is_file() and path.name != "lock":
            path.unlink()
    for path in old.iterdir():
        if path.is_file() and path.name != "lock":
            shutil.copy(path, to / path.name)


def _remove(to: Path, names: tuple[str, ...]) -> None:
    for name in names:
        path = to / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
