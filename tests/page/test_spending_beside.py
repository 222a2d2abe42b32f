"""Sums over very many users: no page waits for one, one is made for all who ask, and hours are watched meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from clocks import HOUR, Clock

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.manager.administrative_manager import Books
from budgeted.money import NANO
from budgeted.page.kept_answers import FRESH, SHARE
from budgeted.page.spending import Spending


class Source:
    """The projects of a test: whoever asks for one waits until it may go on."""

    def __init__(self, books: Books) -> None:
        self.books_, self.asked = books, 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.error: LedgerError | None = None

    def projects(self) -> Sequence[str]:
        return ["default"]

    @contextmanager
    def books(self, project: str, *, changes: bool = False) -> Iterator[Books]:
        self.asked += 1
        assert self.goes_on.wait(60)
        if self.error is not None:
            raise self.error
        yield self.books_


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(clock: Clock) -> Iterator[Source]:
    with Books("default", ledger="memory://", clock=clock) as books:
        yield Source(books)


def spend(source: Source, usd: float) -> None:
    with source.books_.hold(cost=usd) as held:
        held.settle(cost=usd)


@pytest.fixture
def spending(source: Source, clock: Clock) -> Spending:
    return Spending(source, clock)


def test_a_page_does_not_wait_for_a_sum_that_takes_long(
    spending: Spending, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.goes_on.clear()
    assert spending.of("default", "user", "day") is None
    assert spending.of("default", "user", "day") is None
    source.goes_on.set()
    monkeypatch.setattr("budgeted.page.spending.PATIENCE", 60.0)
    assert spending.of("default", "user", "day") is not None
    assert source.asked == 1


def test_a_sum_is_kept_for_longer_the_longer_it_took(
    spending: Spending, source: Source, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("budgeted.page.spending.PATIENCE", 60.0)
    spend(source, 1)

    def total() -> int:
        made = spending.of("default", "model", "day")
        assert made is not None
        return made.total // NANO

    assert total() == 1
    spend(source, 2)
    clock.now += FRESH - 0.1
    assert total() == 1
    clock.now += 0.2
    assert total() == 3
    rollups = source.books_.ledger.rollups

    def slow(since: int = 0, account: str | None = None) -> object:
        clock.now += 10  # as long as it takes to go through a million users
        return rollups(since, account)

    monkeypatch.setattr(source.books_.ledger, "rollups", slow)
    clock.now += FRESH
    spend(source, 4)
    assert total() == 7
    spend(source, 8)
    clock.now += 10 * SHARE - 1
    assert total() == 7
    clock.now += 2
    assert total() == 15


def test_what_was_known_is_shown_while_it_is_summed_up_anew(
    spending: Spending, source: Source, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patient:
        patient.setattr("budgeted.page.spending.PATIENCE", 60.0)
        before = spending.of("default", "model", "day")
    clock.now += 2 * FRESH
    source.goes_on.clear()
    assert spending.of("default", "model", "day") is before
    source.goes_on.set()


def test_hours_are_watched_while_nobody_looks_and_forgotten_after_two_days(
    spending: Spending, source: Source, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("budgeted.page.spending.PATIENCE", 60.0)
    spending.watch("default")
    assert spending.of("default", "model", "hour") is not None
    spend(source, 1)
    clock.now += 60
    spending.look_again()
    assert spending.of("default", "model", "hour") is not None
    clock.now += HOUR
    found = spending.of("default", "model", "hour")
    assert found is not None
    assert (found.total // NANO, found.unwatched) == (1, 0)
    clock.now += 49 * HOUR
    asked = source.asked
    spending.look_again()
    assert source.asked == asked


def test_a_ledger_that_is_away_is_told_to_who_asks_and_asked_again(
    spending: Spending, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("budgeted.page.spending.PATIENCE", 60.0)
    source.error = LedgerUnavailableError("it is away")
    with pytest.raises(LedgerUnavailableError, match="it is away"):
        spending.of("default", "model", "month")
    source.error = None
    assert spending.of("default", "model", "month") is not None


def test_what_cannot_be_told_apart_is_refused_at_once(spending: Spending, source: Source) -> None:
    with pytest.raises(ValueError, match="would_refuse"):
        spending.of("default", "would_refuse", "day")
    assert source.asked == 0
