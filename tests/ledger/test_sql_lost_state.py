"""Ledgers in a database whose state disappears, or goes back to an earlier one: refused or made good, not believed."""

# ruff: noqa: S608 - the names are ours

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from ledgers import ALICE, AT, NEVER, charge, check, cost, give, held, hold, opened, prune, route, spent, usd
from saved_tables import TABLES, SavedTables
from servers import postgres_url, project

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger import acknowledged_verbs
from budgeted.ledger.accounts import GLOBAL, Amendment
from budgeted.ledger.spending_records import Used
from budgeted.ledger.sql.ledger import SQLLedger


class Place(SavedTables):
    """Where a ledger is."""

    def ledger(self) -> Any:
        """As another process would have it."""
        return opened(self.named, "p")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Of a new ledger."""
    url = f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else postgres_url()
    made = Place(url, project().replace("-", "_") + "_")
    yield made
    made.engine.dispose()


@pytest.fixture
def ledger(place: Place) -> Iterator[Any]:
    """With a limit of $1, and nothing spent."""
    made = place.ledger()
    give(made, GLOBAL, usd(1000))
    give(made, ALICE, usd(600))
    yield made
    made.close()


# -- a state that goes backwards


def test_what_a_restored_backup_lacks_is_posted_again_once_and_told(
    ledger: Any, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    charge(ledger, 100, GLOBAL, ALICE)
    early = hold(ledger, 10, GLOBAL, ALICE)
    place.save()
    charge(ledger, 200, GLOBAL, ALICE)
    ledger.settle(early.id, Used(7, 1, 1), AT)
    given_back = hold(ledger, 20, GLOBAL)
    ledger.release(given_back.id, AT)
    under_way = hold(ledger, 30, GLOBAL, ALICE)
    ledger.post("x.1", route(ledger, GLOBAL), Used(5, 1, 1), AT, "nobody knows")
    place.put_back()
    with caplog.at_level(logging.ERROR):
        charge(ledger, 1, GLOBAL, ALICE)
    told = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert "lacks what it has acknowledged" in told[0]
    assert early.id in told[0]
    assert under_way.id in told[0]
    assert (spent(ledger), held(ledger)) == (313, 30)
    assert (spent(ledger, ALICE), held(ledger, ALICE)) == (308, 30)
    assert [one.id for one in ledger.uncertain()] == ["x.1"]
    assert ledger.settle(under_way.id, Used(29, 1, 1), AT)
    assert (spent(ledger), held(ledger)) == (342, 0)
    assert sum(row.usd for row in ledger.rollups(account=GLOBAL)) == 342
    check(ledger)


def test_what_was_added_to_a_limit_is_not_added_twice_and_what_was_resumed_stays_so(ledger: Any, place: Place) -> None:
    ledger.amend(ALICE, Amendment(belongs_to="u:team", stopped="an audit", raised=("usd", 50, 0, NEVER)))
    place.save()
    ledger.amend(ALICE, Amendment(stopped="", raised=("usd", 7, 0, NEVER)))
    give(ledger, ALICE, usd(300))
    assert ledger.read(ALICE).slots[0].amount == 357
    place.put_back()
    charge(ledger, 1, GLOBAL)
    account = ledger.read(ALICE)
    assert (account.slots[0].amount, account.belongs_to, account.stopped) == (357, "u:team", "")
    check(ledger)


def test_each_process_posts_its_own_and_no_other(ledger: Any, place: Place) -> None:
    other = place.ledger()
    charge(other, 1, GLOBAL)
    place.save()
    charge(ledger, 100, GLOBAL)
    charge(other, 20, GLOBAL)
    place.put_back()
    charge(ledger, 3, GLOBAL)
    charge(other, 4, GLOBAL)
    assert spent(ledger) == 128
    check(ledger)
    other.close()


@pytest.mark.parametrize("first", [0, 1])
def test_a_figure_that_another_process_corrected_stays_corrected(ledger: Any, place: Place, first: int) -> None:
    other = place.ledger()
    place.save()
    id = charge(ledger, 100, GLOBAL)
    assert other.correct(id, Used(30, 1, 1), AT).used.usd == 100
    place.put_back()
    for one in ((ledger, other), (other, ledger))[first]:
        one.read(GLOBAL)
    assert spent(ledger) == 30
    other.close()


def test_going_back_again_and_again_changes_nothing(ledger: Any, place: Place) -> None:
    place.save()
    for round_ in range(1, 5):
        charge(ledger, 10, GLOBAL)
        one = hold(ledger, 1, GLOBAL)
        place.put_back()
        assert isinstance(hold(ledger, 0, GLOBAL), type(one))
        assert (spent(ledger), held(ledger)) == (10 * round_, round_)
    check(ledger)


def test_it_is_noticed_by_who_does_nothing(ledger: Any, place: Place) -> None:
    place.save()
    charge(ledger, 100, GLOBAL)
    place.put_back()
    ledger._beat_due = ledger._look_due = 0.0
    ledger.upkeep()
    assert spent(place.ledger()) == 100


def test_nothing_is_missed_where_the_background_thread_looks_while_a_ledger_is_being_closed(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    class LookedAtLate(SQLLedger):
        def renew(self, owner: str, seconds: float) -> None:
            super().renew(owner, seconds)
            self._look_due = 0
            self.upkeep()

    leaving = LookedAtLate(place.named, "p")
    give(leaving, GLOBAL, usd(1000))
    leaving.close()
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_limits_that_were_lowered_since_are_written_back(ledger: Any, place: Place) -> None:
    other = place.ledger()
    place.save()
    give(other, GLOBAL, usd(50))
    ledger.read(GLOBAL)  # as whoever plans a call does
    charge(ledger, 40, GLOBAL)
    other.close()
    place.put_back()
    assert not isinstance(hold(ledger, 5, GLOBAL), str)
    assert [slot.amount for slot in ledger.read(GLOBAL).slots] == [50]
    assert hold(ledger, 20, GLOBAL).amount == 50


@pytest.mark.parametrize("first", [0, 1])
def test_whoever_writes_back_first_the_limits_that_came_last_are_kept(ledger: Any, place: Place, first: int) -> None:
    other = place.ledger()
    place.save()
    give(ledger, GLOBAL, usd(500))
    give(other, GLOBAL, usd(50))
    place.put_back()
    for one in ((ledger, other), (other, ledger))[first]:
        one.settle(one.new_id(), Used(1), AT)
    assert [slot.amount for slot in ledger.read(GLOBAL).slots] == [50]
    give(ledger, GLOBAL, usd(60))
    assert [slot.amount for slot in other.read(GLOBAL).slots] == [60]
    other.close()


def test_limits_that_are_new_since_are_written_back(ledger: Any, place: Place) -> None:
    place.save()
    give(ledger, "u:carol", usd(7))
    charge(ledger, 5, GLOBAL, "u:carol")
    place.put_back()
    ledger.settle(hold(ledger, 1, GLOBAL).id, Used(1), AT)
    assert spent(ledger, "u:carol") == 5
    assert hold(ledger, 3, GLOBAL, "u:carol").limit == "usd"


def test_what_is_not_remembered_is_refused_until_it_is_repaired(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledged_verbs.AcknowledgedVerbs.__init__, "__defaults__", (4,))
    ledger = place.ledger()
    give(ledger, GLOBAL, usd(1000))
    place.save()
    for _ in range(5):
        charge(ledger, 10, GLOBAL)
    place.put_back()
    for _ in range(2):
        with pytest.raises(LedgerCorruptError, match=r"are gone: .* earlier state.*4 charges .*up to 3 earlier"):
            ledger.hold("z.1", route(ledger, GLOBAL), cost(1), AT)
    assert ledger.repair() > 0
    assert spent(ledger) == 40
    assert ledger.repair() == 0
    charge(ledger, 1, GLOBAL)
    assert spent(ledger) == 41
    check(ledger)
    ledger.close()


def test_an_owner_that_slept_for_long_is_not_taken_for_one_of_the_future(
    ledger: Any, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge(ledger, 10, GLOBAL)
    place.run("DELETE FROM {owners}")
    ledger._rows.counts.renewed -= 30 * 86_400
    charge(ledger, 1, GLOBAL)
    charge(ledger, 1, GLOBAL)
    assert spent(ledger) == 12


# -- a state that disappears

EMPTYING: dict[str, tuple[str, ...]] = {
    "all rows": tuple(f"DELETE FROM {{{table}}}" for table in TABLES),
    "the project": ("DELETE FROM {projects}",),
    "the project's rows": tuple(f"DELETE FROM {{{table}}}" for table in TABLES[1:]),
    "its accounts": ("DELETE FROM {accounts}",),
    "one account": ("DELETE FROM {accounts} WHERE id = 'g'",),
    "all tables": tuple(f"DROP TABLE {{{table}}}" for table in TABLES),
    "the table of accounts": ("DROP TABLE {accounts}",),
    "the table of owners": ("DROP TABLE {owners}",),
}


@pytest.mark.parametrize("what", EMPTYING)
def test_calls_are_refused_where_rows_or_tables_are_gone(ledger: Any, place: Place, what: str) -> None:
    where = route(ledger, GLOBAL, ALICE)
    one = hold(ledger, 100, GLOBAL, ALICE)
    charge(ledger, 200, GLOBAL, ALICE)
    for statement in EMPTYING[what]:
        place.run(statement)
    for _ in range(2):
        with pytest.raises(LedgerCorruptError, match=r"the balances at .* are gone"):
            ledger.hold(ledger.new_id(), where, cost(1), AT)
    with pytest.raises(LedgerError):
        ledger.set_limits(GLOBAL, [usd(5000)], create=True)
    if "account" not in what:
        with pytest.raises(LedgerCorruptError):
            ledger.settle(one.id, Used(1), AT)


@pytest.mark.parametrize("what", ["all rows", "the project", "the project's rows", "all tables"])
def test_what_is_gone_is_written_back_by_who_is_asked_to(ledger: Any, place: Place, what: str) -> None:
    one = hold(ledger, 100, GLOBAL, ALICE)
    charge(ledger, 200, GLOBAL, ALICE)
    for statement in EMPTYING[what]:
        place.run(statement)
    assert ledger.repair() > 0
    assert ledger.repair() == 0
    assert (spent(ledger), held(ledger), spent(ledger, ALICE)) == (200, 100, 200)
    assert hold(ledger, 800, GLOBAL).reason == "held"
    ledger.settle(one.id, Used(90), AT)
    assert (spent(ledger), held(ledger)) == (290, 0)
    check(ledger)
    other = place.ledger()
    assert spent(other) == 290
    other.close()


def test_other_processes_write_their_part_back_by_themselves(ledger: Any, place: Place) -> None:
    other = place.ledger()
    charge(ledger, 100, GLOBAL)
    charge(other, 20, GLOBAL)
    for table in TABLES:
        place.run(f"DELETE FROM {{{table}}}")
    ledger.repair()
    assert spent(ledger) == 100
    charge(other, 3, GLOBAL)
    assert spent(ledger) == 123
    other.close()


@pytest.mark.parametrize("what", ["the project", "its accounts", "one account", "the table of accounts"])
def test_who_opens_what_lacks_rows_is_refused(ledger: Any, place: Place, what: str) -> None:
    charge(ledger, 200, GLOBAL, ALICE)
    ledger.close()
    for statement in EMPTYING[what]:
        place.run(statement)
    for _ in range(2):
        with pytest.raises(LedgerCorruptError, match=r"has lost|was dropped"):
            place.ledger()


# -- charges by their ids


def test_a_charge_is_posted_once_also_when_nobody_remembers_its_id(ledger: Any, place: Place) -> None:
    where = route(ledger, GLOBAL)
    settled = charge(ledger, 100, GLOBAL)
    ids = [settled, "other.7", "a0b1.12", "no number", "x.007", "x.7", "\\\0.3"]
    for id in ids[1:]:
        assert ledger.post(id, where, Used(10, 1, 1), AT) is True
    for _ in range(2):
        for id in ids:
            assert ledger.post(id, where, Used(100 if id == settled else 10, 1, 1), AT) is True
        assert spent(ledger) == 160
        forget(ledger)
    assert ledger.ended(settled) is None
    assert ledger.settle(settled, Used(100, 1, 1), AT) is False
    assert ledger.settle("never.1", Used(100, 1, 1), AT) is False
    assert ledger.release("never.1", AT) is False
    assert ledger.post("other.8", where, Used(1), AT) is True
    assert spent(ledger) == 161
    check(ledger)


def test_what_was_released_long_ago_is_charged_when_its_answer_comes(ledger: Any) -> None:
    one = hold(ledger, 50, GLOBAL)
    ledger.release(one.id, AT)
    forget(ledger)
    assert ledger.settle(one.id, Used(40, 1, 1), AT) is False
    for _ in range(2):
        assert ledger.post(one.id, route(ledger, GLOBAL), Used(40, 1, 1), AT) is True
    assert spent(ledger) == 40


def test_ids_of_ended_holds_are_kept_as_ranges(ledger: Any, place: Place) -> None:
    for _ in range(3):
        for _ in range(20):
            charge(ledger, 1, GLOBAL)
        forget(ledger)
    with place.engine.connect() as connection:
        found = connection.execute(sa.text(f"SELECT first, last FROM {place.prefix}ended")).fetchall()
    assert [tuple(row) for row in found] == [(1, 20), (22, 41), (43, 62)]  # in between is what each forgetting took


def forget(ledger: Any) -> None:
    """Have all holds that ended dropped but the latest one, and that as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("budgeted.ledger.memory.ended_holds.REMEMBERED", 0)
        charged = hold(ledger, 0, GLOBAL, at=AT + 10)
        ledger.release(charged.id, AT + 10)
        prune(ledger)


# -- rows that are not what was written


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {accounts} SET usd = usd - 1 WHERE id = 'g'",
        "UPDATE {accounts} SET slots = replace(slots, '200', '20')",
        "UPDATE {holds} SET usd = 1",
        "UPDATE {holds} SET route = replace(route, 'alice', 'alicf')",
    ],
)
def test_rows_that_are_not_what_was_written_are_refused(ledger: Any, place: Place, statement: str) -> None:
    charge(ledger, 200, GLOBAL, ALICE)
    where = route(ledger, GLOBAL, ALICE)
    one = hold(ledger, 100, GLOBAL, ALICE)
    place.run(statement)
    for _ in range(2):
        with pytest.raises(LedgerCorruptError, match="is damaged, or was changed by hand"):
            ledger.settle(one.id, Used(90), AT)
        if "holds" not in statement:
            with pytest.raises(LedgerCorruptError):
                ledger.hold(ledger.new_id(), where, cost(1), AT)
