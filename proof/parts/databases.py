"""Databases that lose what they had: files damaged or exchanged, tables restored, PostgreSQL killed and stopped.

What was acknowledged is counted afterwards, exactly once; or calls are refused; or what is missing is told in an ERROR.
A ledger that is asked to repair has what its process knew. Other processes of a file that is damaged at rest find what
was there, or are refused. SQLite and PostgreSQL.

Not tried: flipped bits in the report's rows and in the data of PostgreSQL, which has checksums of its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from ledgers import ALICE, AT, charge, check, cost, give, held, hold, route, spent, usd
from saved_tables import SavedTables
from servers import postgres_url, project

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.spending_records import Used
from budgeted.ledger.sql.ledger import SQLLedger
from proof.databases.killed_server import killings
from proof.told_log import listening
from proof.trial import Case, Trial

SHORT, LONG = 10.0, 240.0

LIMIT = 10**6

PREFIX = "budgeted_"

Damage = Callable[[Path], str]
"""Does something to the files of a ledger, whose first it is given, and says what."""


def run(trial: Trial) -> None:
    """Damage files at rest and in use, put back older tables, and kill and stop a server."""
    logging.getLogger("budgeted").propagate = False
    original = Original(trial.directory)
    for kind, (make, share) in KINDS.items():
        trial.random_cases(kind, lambda case, make=make: at_rest(case, original, make(original, case.rng)), share)
    trial.random_cases("file in use", lambda case: in_use(case, original), 0.14)
    trial.random_cases("restored sqlite", lambda case: restored(case, f"sqlite:///{case.directory}/l.db"), 0.1)
    trial.random_cases("restored postgresql", lambda case: restored(case, postgres_url()), 0.12)
    killings(trial, 0.25)


# -- a file at rest


class Original:
    """A ledger's file at rest, an older copy of it, and another ledger's.

    Attributes:
        file: it.
        older: as it was before it was opened last.
        other: another ledger, made alike.
        right: what it knows.
    """

    def __init__(self, folder: Path) -> None:
        self.file, self.older, self.other = (folder / name / "ledger.db" for name in ("made", "older", "other"))
        self.ids: list[str] = []
        self.file.parent.mkdir()
        self._fill(self.file)
        shutil.copytree(self.file.parent, self.older.parent)
        self._fill(self.file)
        shutil.copytree(self.file.parent, self.other.parent)
        for path in self.other.parent.iterdir():
            path.unlink()
        self._fill(self.other)
        ledger = opened(self.file)
        self.right = self.known(ledger)
        ledger.close()

    def _fill(self, file: Path) -> None:
        ledger = opened(file)
        give(ledger, GLOBAL, usd(LIMIT))
        give(ledger, ALICE, usd(LIMIT // 2))
        for amount in range(1, 9):
            self.ids.append(charge(ledger, amount, GLOBAL, ALICE))
        open_ = hold(ledger, 50, GLOBAL, ALICE)
        ledger.settle(open_.id, Used(40, 1, 1), AT, "cut off")
        ledger.post(f"far.{len(self.ids)}", route(ledger, GLOBAL), Used(3, 1, 1), AT)
        hold(ledger, 60, GLOBAL)
        # As if its process still lived, so that nobody charges what it holds.
        ledger._database.run(lambda driver: driver.execute("UPDATE budgeted_owners SET until = 1e12"), 1e12)
        with mock.patch.object(ledger, "renew"):
            ledger.close()

    def known(self, ledger: Any) -> object:
        """Balances, calls in flight, and what became of others."""
        accounts, uncertain = ledger.accounts(), ledger.uncertain()
        return accounts, ledger.open_holds(), uncertain, [ledger.ended(id) for id in self.ids]

    def files(self) -> list[Path]:
        """Its files."""
        return sorted(self.file.parent.iterdir())


def opened(file: Path) -> Any:
    """A ledger as a process of its own would have it, of which nothing is swept."""
    ledger = SQLLedger(f"sqlite:///{file}", "p")
    ledger.clock = lambda: float(AT)
    ledger._beat_due = ledger._look_due = ledger._prune_due = float("inf")
    return ledger


def truncation(original: Original, rng: random.Random) -> Damage:
    """A file, cut off somewhere."""
    path = rng.choice(original.files())
    size = rng.randrange(path.stat().st_size)
    return _named(f"{path.name} cut off at {size}", _cut(path.name, size))


def flip(original: Original, rng: random.Random) -> Damage:
    """A bit of a file."""
    path = rng.choice(original.files())
    bit = rng.randrange(8 * path.stat().st_size)
    return _named(f"bit {bit} of {path.name} flipped", _flip(path.name, bit))


def zeroes(original: Original, rng: random.Random) -> Damage:
    """A run of NULs in a file."""
    path = rng.choice(original.files())
    start, length = rng.randrange(path.stat().st_size), rng.choice((1, 16, 512, 4096))
    return _named(f"{length} NULs at {start} of {path.name}", _zero(path.name, start, length))


def exchange(original: Original, rng: random.Random) -> Damage:
    """A file that is missing, older, or another ledger's."""
    name, source = rng.choice(original.files()).name, rng.choice((None, original.older, original.other))
    if source is None:
        return _named(f"{name} gone", lambda file: (file.parent / name).unlink())
    there = source.parent / name
    return _named(f"{name} of {source.parent.name}", lambda file: shutil.copy2(there, file.parent / name))


KINDS: dict[str, tuple[Callable[[Original, random.Random], Damage], float]] = {
    "truncation": (truncation, 0.07),
    "bit": (flip, 0.2),
    "NULs": (zeroes, 0.08),
    "exchange": (exchange, 0.04),
}
"""What is damaged, and for what share of the part's seconds that is tried."""


def at_rest(case: Case, original: Original, damage: Damage) -> None:
    """Damage a copy that nobody has open, and open it: all is there, or it is refused."""
    file = shutil.copytree(original.file.parent, case.directory / "copy") / original.file.name
    case.fault(case.subject, damage(file))
    try:
        ledger = opened(file)
    except LedgerError as error:
        case.tell(f"refused: {error}")
        return
    try:
        found = original.known(ledger)
        if found != original.right and case.subject == "exchange" and "identity" in case.story[-1]:
            return  # a trace alone is no ledger: what was put in its place is refused, or a first one
        assert found == original.right, f"other balances, in silence: {found}"
        charge(ledger, 5, GLOBAL, ALICE)
        ledger.post("new.1", route(ledger, GLOBAL), Used(4, 1, 1), AT)
        before = next(one for one in original.right[0] if one.id == GLOBAL)  # type: ignore[index]
        assert spent(ledger) == before.slots[0].spent + 9
        check(ledger)
    except LedgerCorruptError as error:
        case.tell(f"refused later: {error}")
    finally:
        with contextlib.suppress(LedgerError):
            ledger.close()


# -- a file in use


class Books:
    """What ledgers have acknowledged: the bill."""

    def __init__(self) -> None:
        self.spent = 0
        self.corrects: Any = None
        """The one process that corrects figures: of two, nobody would know whose came last."""
        self.held: dict[str, tuple[Any, int]] = {}
        self.charged: dict[str, int] = {}

    @property
    def total(self) -> int:
        """What must be counted at least."""
        return self.spent + sum(amount for _, amount in self.held.values())

    def act(self, case: Case, ledger: Any) -> None:
        """One verb of some kind, entered if it is acknowledged."""
        rng = case.rng
        mine = [id for id, (owner, _) in self.held.items() if owner is ledger]
        kind = rng.choice(["hold", "hold", "settle", "settle", "release", "post", "correct", "read"])
        if kind == "hold" or (kind in ("settle", "release") and not mine):
            amount = rng.randrange(1, 100)
            found = hold(ledger, amount, GLOBAL, ALICE)
            assert isinstance(found, Held), found
            self.held[found.id] = ledger, amount
        elif kind == "settle":
            id = rng.choice(mine)
            used = rng.randrange(self.held[id][1] + 1)
            reason = rng.choice(["", "", "cut off"])
            if not ledger.settle(id, Used(used, 1, 1), AT, reason):
                ledger.post(id, route(ledger, GLOBAL, ALICE), Used(used, 1, 1), AT, reason)
            del self.held[id]
            self.spent += used
            self.charged[id] = used
        elif kind == "release":
            id = rng.choice(mine)
            ledger.release(id, AT)
            del self.held[id]
        elif kind == "post":
            id, used = ledger.new_id(), rng.randrange(100)
            assert ledger.post(id, route(ledger, GLOBAL, ALICE), Used(used, 1, 1), AT) is True
            self.spent += used
            self.charged[id] = used
        elif kind == "correct" and self.charged and ledger is self.corrects:
            id, used = rng.choice(sorted(self.charged)), rng.randrange(100)
            if ledger.correct(id, Used(used, 1, 1), AT) is not None:
                self.spent += used - self.charged[id]
                self.charged[id] = used
        else:
            assert spent(ledger) + held(ledger) >= self.total, "less than was acknowledged, in silence"
        case.tell(f"{ledger.owner} {kind}: {self.spent} spent, {self.total - self.spent} held")

    def agree(self, ledger: Any) -> None:
        """The ledger has exactly what was acknowledged, on each account."""
        for name in (GLOBAL, ALICE):
            found, wanted = (spent(ledger, name), held(ledger, name)), (self.spent, self.total - self.spent)
            assert found == wanted, f"{name}: {found} are not {wanted}"
        check(ledger)


def exchanged(case: Case, file: Path, older: Path, original: Original) -> str:
    """Do something to a file that is in use; what it was."""
    rng = case.rng
    beside = sorted(file.parent.glob(file.name + "*"))
    one = rng.choice([path for path in beside if not path.name.endswith(("-shm", "identity"))])
    what = rng.choice(["removed", "all removed", "older", "another's", "cut off", "bit flipped", "trace removed"])
    if what == "removed":
        one.unlink()
    elif what == "all removed":
        for path in beside:
            path.unlink()
    elif what == "older":
        _replace(older, file)
    elif what == "another's":
        _replace(original.other, file)
    elif what == "cut off":
        os.truncate(file, rng.randrange(file.stat().st_size))
        one = file
    elif what == "bit flipped":
        one = file
        _flip(file.name, rng.randrange(8 * file.stat().st_size))(file)
    else:
        file.with_name(f"{file.name}.{PREFIX}identity").unlink()
    return f"{what} ({one.name})"


def in_use(case: Case, original: Original) -> None:
    """Two processes use a file, and something is done to it: each verb counts on what it was, or is refused."""
    file, older = case.directory / "ledger.db", case.directory / "older.db"
    first = opened(file)
    give(first, GLOBAL, usd(LIMIT))
    give(first, ALICE, usd(LIMIT))
    ledgers, books = [first, opened(file)], Books()
    books.corrects = case.rng.choice(ledgers)
    for _ in range(case.rng.randrange(12)):
        books.act(case, case.rng.choice(ledgers))
    shutil.copy2(file, older)
    for _ in range(case.rng.randrange(12)):
        books.act(case, case.rng.choice(ledgers))
    what = exchanged(case, file, older, original)
    case.fault("file in use", what)
    for _ in range(12):
        with contextlib.suppress(LedgerError):
            books.act(case, case.rng.choice(ledgers))
    try:
        for ledger in ledgers:
            ledger.repair()
    except LedgerError as error:
        case.tell(f"not repaired: {error}")  # such as for a damaged file, or one whose log others still have
    else:
        if "flipped" not in what:  # where nobody looks, a bit may wait for later
            books.agree(first)
            books.act(case, ledgers[1])
            books.agree(ledgers[1])
    for ledger in ledgers:
        with contextlib.suppress(LedgerError):
            ledger.close()


# -- tables that are restored


def restored(case: Case, url: str) -> None:
    """Two processes use tables, which go back to an earlier state now and then: all is counted once, and told."""
    tables, books = SavedTables(url, project().replace("-", "_") + "_"), Books()
    first, second = (SQLLedger(tables.named, "p") for _ in range(2))
    for ledger in (first, second):
        ledger._beat_due = ledger._look_due = ledger._prune_due = float("inf")
    books.corrects = case.rng.choice((first, second))
    give(first, GLOBAL, usd(LIMIT))
    give(first, ALICE, usd(LIMIT))
    with listening(logging.ERROR) as told:
        for _ in range(case.rng.randrange(1, 4)):
            tables.save()
            then = books.spent, dict(books.held), dict(books.charged)
            for _ in range(case.rng.randrange(12)):
                books.act(case, case.rng.choice((first, second)))
            before = len(told.texts)
            case.fault("tables restored")
            tables.put_back()
            for ledger in (first, second):
                ledger.read(GLOBAL)
            books.agree(case.rng.choice((first, second)))
            if then != (books.spent, books.held, books.charged):
                assert len(told.texts) > before, "what was lost was made good without a word"
    for ledger in (first, second):
        for id, (owner, amount) in list(books.held.items()):
            if owner is ledger:
                assert ledger.settle(id, Used(amount, 1, 1), AT), "a hold that is open was not known"
                books.spent += amount
                del books.held[id]
    books.agree(first)
    refused = first.hold(first.new_id(), route(first, GLOBAL, ALICE), cost(LIMIT - books.spent + 1), AT)
    assert not isinstance(refused, Held), "more than the limit was granted"
    first.close()
    second.close()
    tables.engine.dispose()


# -- what damage is made of


def _named(what: str, do: Callable[[Path], object]) -> Damage:
    def damage(file: Path) -> str:
        do(file)
        return what

    return damage


def _cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda file: os.truncate(file.parent / name, size)


def _flip(name: str, bit: int) -> Callable[[Path], object]:
    def do(file: Path) -> None:
        with (file.parent / name).open("r+b") as opened:
            opened.seek(bit // 8)
            byte = opened.read(1)[0]
            opened.seek(bit // 8)
            opened.write(bytes([byte ^ 1 << bit % 8]))

    return do


def _zero(name: str, start: int, length: int) -> Callable[[Path], object]:
    def do(file: Path) -> None:
        path = file.parent / name
        with path.open("r+b") as opened:
            opened.seek(start)
            opened.write(bytes(min(length, path.stat().st_size - start)))

    return do


def _replace(by: Path, file: Path) -> None:
    copy = file.with_suffix(".new")
    shutil.copy2(by, copy)
    copy.replace(file)
