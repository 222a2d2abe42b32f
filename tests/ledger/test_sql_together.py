"""Verbs of many threads that one transaction of PostgreSQL does: each is decided as if it came alone."""

# ruff: noqa: S608 - the names are ours

from __future__ import annotations

import random
import string
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from ledgers import ALICE, AT, BOB, check, cost, give, held, hold, opened, route, spent, usd
from servers import postgres_url, project

from budgeted.errors import LedgerCorruptError, LedgerError, LedgerLockedError, LedgerUnavailableError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.spending_records import Used

Verb = Callable[[], Any]


@pytest.fixture
def ledger() -> Iterator[Any]:
    made = opened(postgres_url(), project())
    give(made, GLOBAL, usd(1000))
    yield made
    check(made)
    made.close()


@contextmanager
def row_lock(ledger: Any, account: str = GLOBAL) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else is at an account, until he commits."""
    with psycopg.connect(postgres_url()) as other:
        table = ledger._database.tables.accounts.name
        other.execute(f"SELECT 1 FROM {table} WHERE project = %s AND id = %s FOR UPDATE", (ledger.project, account))
        yield other


class Called(threading.Thread):
    """A verb in a thread of its own: its answer, or the error that it raised."""

    def __init__(self, verb: Verb) -> None:
        super().__init__()
        self._verb = verb
        self.answer: Any = None

    def run(self) -> None:
        try:
            self.answer = self._verb()
        except Exception as error:  # noqa: BLE001 - it is looked at
            self.answer = error


def in_line(ledger: Any) -> int:
    return len(ledger._rows._together._line)


def lined_up(ledger: Any, verbs: list[Verb]) -> list[Called]:
    """Threads whose verbs wait in this order, while one transaction is under way."""
    threads = []
    for verb in verbs:
        threads.append(Called(verb))
        before = in_line(ledger)
        threads[-1].start()
        while in_line(ledger) == before:
            assert threads[-1].is_alive(), threads[-1].answer
    return threads


def leading(ledger: Any, verb: Verb) -> Called:
    """A thread whose verb is under way."""
    first = Called(verb)
    first.start()
    while not ledger._rows._together._led:
        assert first.is_alive(), first.answer
    return first


def together(ledger: Any, *verbs: Verb) -> list[Any]:
    """What verbs come to that one transaction does, in this order."""
    where = route(ledger, GLOBAL)
    with row_lock(ledger) as other:
        first = leading(ledger, lambda: ledger.hold(ledger.new_id(), where, cost(0), AT))
        threads = lined_up(ledger, list(verbs))
        other.commit()
        for one in (first, *threads):
            one.join()
    return [one.answer for one in threads]


def rows(ledger: Any, columns: str) -> list[Any]:
    with psycopg.connect(postgres_url(), autocommit=True) as other:
        table = ledger._database.tables.holds.name
        return other.execute(f"SELECT {columns} FROM {table} WHERE project = %s", (ledger.project,)).fetchall()


def test_what_comes_during_a_transaction_is_done_in_the_next_one(ledger: Any) -> None:
    where = route(ledger, GLOBAL)
    ids = [ledger.new_id() for _ in range(20)]
    verbs = [lambda id=id: ledger.hold(id, where, cost(7), AT) for id in ids]
    assert [one.id for one in together(ledger, *verbs)] == ids
    assert held(ledger) == 140
    transactions = dict(rows(ledger, "id, xmin::text"))
    assert len({transactions[id] for id in ids}) == 1
    settled = [lambda id=id: ledger.settle(id, Used(5, 1, 1), AT) for id in ids]
    assert together(ledger, *settled) == [True] * 20
    assert (spent(ledger), held(ledger), ledger.read(GLOBAL).calls) == (100, 0, 20)
    assert [(row.calls, row.usd) for row in ledger.rollups(account=GLOBAL)] == [(20, 100)]


def test_each_is_decided_on_what_those_before_it_have_left(ledger: Any) -> None:
    where = route(ledger, GLOBAL)
    some = ledger.new_id()
    found = together(
        ledger,
        lambda: ledger.hold(some, where, cost(600), AT),
        lambda: ledger.hold(ledger.new_id(), where, cost(600), AT),
        lambda: ledger.hold(some, where, cost(600), AT),
        lambda: ledger.settle(some, Used(400), AT),
        lambda: ledger.hold(ledger.new_id(), where, cost(600), AT),
        lambda: ledger.hold(ledger.new_id(), where, cost(1), AT),
    )
    assert [isinstance(one, Refused) for one in found] == [False, True, False, False, False, True]
    assert (found[1].held, found[2], found[3]) == (600, found[0], True)
    assert (spent(ledger), held(ledger)) == (400, 600)


def test_an_error_of_one_is_not_anothers(ledger: Any) -> None:
    where = route(ledger, GLOBAL)
    before = hold(ledger, 10, GLOBAL)
    ledger.settle(before.id, Used(10), AT)
    too_long = "".join(random.Random(1).choices(string.ascii_letters, k=9000))  # for an index
    found = together(
        ledger,
        lambda: ledger.hold(ledger.new_id(), where, cost(20), AT),
        lambda: ledger.settle(before.id, Used(11), AT),
        lambda: ledger.hold(too_long, where, cost(20), AT),
        lambda: ledger.settle("nobody.1", Used(1), AT),
        lambda: ledger.hold(ledger.new_id(), where, cost(30), AT),
    )
    assert [type(one) for one in found] == [Held, LedgerError, LedgerUnavailableError, bool, Held]
    assert (spent(ledger), held(ledger)) == (10, 50)


def test_a_damaged_row_is_told_to_whom_it_concerns(ledger: Any) -> None:
    where = route(ledger, GLOBAL)
    bad, good = hold(ledger, 20, GLOBAL), hold(ledger, 30, GLOBAL)
    with psycopg.connect(postgres_url(), autocommit=True) as other:
        table = ledger._database.tables.holds.name
        other.execute(f"UPDATE {table} SET usd = 21 WHERE project = %s AND id = %s", (ledger.project, bad.id))
    found = together(
        ledger,
        lambda: ledger.settle(bad.id, Used(1), AT),
        lambda: ledger.settle(good.id, Used(2), AT),
        lambda: ledger.hold(ledger.new_id(), where, cost(3), AT),
    )
    assert [type(one) for one in found] == [LedgerCorruptError, bool, Held]
    assert (spent(ledger), held(ledger)) == (2, 23)
    with psycopg.connect(postgres_url(), autocommit=True) as other:
        other.execute(f"UPDATE {table} SET usd = 20 WHERE project = %s AND id = %s", (ledger.project, bad.id))


def test_calls_of_several_accounts_and_within_reservations_go_together(ledger: Any) -> None:
    for name in (ALICE, BOB):
        give(ledger, name, usd(500))
    alice, bob = route(ledger, GLOBAL, ALICE), route(ledger, GLOBAL, BOB)
    around, one, other = (ledger.new_id() for _ in range(3))
    ledger.hold(around, alice, Ask(usd=100, uncertain_output=-1, within=around), AT)
    found = together(
        ledger,
        lambda: ledger.hold(one, alice, Ask(usd=60, uncertain_output=0, within=around), AT),
        lambda: ledger.hold(other, bob, cost(70), AT),
        lambda: ledger.hold(ledger.new_id(), bob, cost(431), AT),
        lambda: ledger.settle(one, Used(50), AT),
        lambda: ledger.release(around, AT),
    )
    assert (found[2].account, found[3:]) == (BOB, [True, True])
    assert (spent(ledger), held(ledger)) == (50, 70)
    assert (spent(ledger, ALICE), held(ledger, ALICE), held(ledger, BOB)) == (50, 0, 70)


def test_who_leaves_at_its_deadline_takes_nobody_with_it(ledger: Any) -> None:
    where = route(ledger, GLOBAL)
    with row_lock(ledger) as other:
        first = leading(ledger, lambda: ledger.hold(ledger.new_id(), where, cost(1), AT, timeout=0.4))
        waiting = lined_up(
            ledger,
            [
                lambda: ledger.hold(ledger.new_id(), where, cost(2), AT, timeout=0.05),
                lambda: ledger.hold(ledger.new_id(), where, cost(4), AT, timeout=60),
            ],
        )
        waiting[0].join()
        first.join()
        other.commit()
        waiting[1].join()
    assert type(first.answer) is LedgerUnavailableError
    assert "did not answer within 0.4 seconds" in str(first.answer)
    assert type(waiting[0].answer) is LedgerLockedError
    assert "busy with other calls of this process for 0.05 seconds" in str(waiting[0].answer)
    assert waiting[1].answer.usd == 4
    ledger.flush()  # what was given up is given back
    assert held(ledger) == 4


def some_verbs(chance: random.Random, one: Any, ids: list[str], routes: list[Any]) -> list[Verb]:
    """What may be asked of a ledger, of a few ids."""

    def verb() -> Verb:
        id, where, amount = chance.choice(ids), chance.choice(routes), chance.randrange(90)
        used, reason = Used(amount, amount, 1), chance.choice(["", "", "nobody knows"])
        return chance.choice(
            [
                lambda: one.hold(id, where, cost(amount), AT),
                lambda: one.hold(id, where, cost(amount), AT),
                lambda: one.settle(id, used, AT, reason),
                lambda: one.release(id, AT),
                lambda: one.post(id, where, used, AT, reason),
                lambda: one.correct(id, used, AT),
                lambda: one.reset(where.legs[-1].account, AT),
            ]
        )

    return [verb() for _ in range(chance.randrange(1, 9))]


def told(found: Any) -> object:
    """An answer as it may be compared."""
    if isinstance(found, Exception):
        return type(found), str(found)
    if isinstance(found, Held):  # its route is text that is kept elsewhere
        return found.id, found.usd, found.tokens, found.guess
    return type(found).__name__, str(found)


def answer(verb: Verb) -> Any:
    try:
        return verb()
    except LedgerError as error:
        return error


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_whatever_goes_together_comes_to_what_it_comes_to_one_after_the_other(ledger: Any, seed: int) -> None:
    alone: Any = MemoryLedger()
    for one in (ledger, alone):
        for name, amount in ((GLOBAL, 1000), (ALICE, 400), (BOB, 300)):
            give(one, name, usd(amount))
    ids = [ledger.new_id() for _ in range(40)]
    payers = [(GLOBAL,), (GLOBAL, ALICE), (GLOBAL, BOB), (GLOBAL, ALICE, BOB)]
    of_ledger, of_alone = ([route(one, *names) for names in payers] for one in (ledger, alone))
    for number in range(20):
        key = f"{seed} {number}"
        many = together(ledger, *some_verbs(random.Random(key), ledger, ids, of_ledger))
        few = [answer(verb) for verb in some_verbs(random.Random(key), alone, ids, of_alone)]
        assert list(map(told, many)) == list(map(told, few)), key
        for name in (GLOBAL, ALICE, BOB):
            mine, its = ledger.read(name), alone.read(name)
            assert (mine.usd, mine.tokens, mine.calls, mine.held) == (its.usd, its.tokens, its.calls, its.held), key
            assert (spent(ledger, name), held(ledger, name)) == (spent(alone, name), held(alone, name)), key
    assert sorted(map(str, ledger.rollups())) == sorted(map(str, alone.rollups()))
    assert {one.id for one in ledger.uncertain()} == {one.id for one in alone.uncertain()}
    alone.close()
