"""Forks: the child works, the parent's holds stay the parent's, and nothing is written twice."""

from __future__ import annotations

import multiprocessing
import threading
import warnings
from typing import Any

import pytest
from forking import forked
from ledgers import ALICE, AT, charge, check, give, held, hold, spent, usd

from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.spending_records import Used

# Forking with threads is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def test_a_child_spends_from_the_same_ledger_under_ids_of_its_own(journal: JournalLedger) -> None:
    give(journal, GLOBAL, usd(1000))
    mine = hold(journal, 10, GLOBAL)
    owner = journal.owner

    def child() -> None:
        assert journal.owner != owner
        charge(journal, 5, GLOBAL)
        assert held(journal) == 10
        assert journal.sweep() == 0
        check(journal)
        journal.close()

    forked(child)
    assert (spent(journal), held(journal)) == (5, 10)
    journal.settle(mine.id, Used(10), AT)
    assert spent(journal) == 15
    check(journal)


def test_a_child_that_ends_without_a_word_leaves_the_parents_holds_open_and_its_own_charged(
    journal: JournalLedger,
) -> None:
    give(journal, GLOBAL, usd(1000))
    hold(journal, 10, GLOBAL)
    forked(lambda: hold(journal, 7, GLOBAL))
    assert held(journal) == 17
    assert journal.sweep() == 1
    assert (held(journal), spent(journal)) == (10, 7)
    check(journal)


def test_a_grandchild_works_too(journal: JournalLedger) -> None:
    give(journal, GLOBAL, usd(1000))

    def child() -> None:
        charge(journal, 5, GLOBAL)
        forked(lambda: charge(journal, 6, GLOBAL))
        charge(journal, 7, GLOBAL)

    forked(child)
    assert spent(journal) == 18
    check(journal)


def test_forks_while_other_threads_are_inside_the_ledger(ledger: Any) -> None:
    """The lock is free and the balances are whole in the child, wherever the threads were."""
    give(ledger, GLOBAL, usd(10**9))
    give(ledger, ALICE, usd(10**9))
    done, counts = threading.Event(), []

    def work() -> None:
        count = 0
        while not done.is_set():
            charge(ledger, 1, GLOBAL, ALICE)
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()

    def child() -> None:
        charge(ledger, 1, GLOBAL, ALICE)
        if isinstance(ledger, MemoryLedger) and not ledger.shared:
            check(ledger)
            assert spent(ledger) == spent(ledger, ALICE)

    forks = 10
    for _ in range(forks):
        forked(child)
    done.set()
    for thread in threads:
        thread.join()
    expected = sum(counts) + (forks if ledger.shared else 0)
    assert spent(ledger) == spent(ledger, ALICE) == expected
    check(ledger)


def test_multiprocessing_children_share_the_ledger(journal: JournalLedger) -> None:
    give(journal, GLOBAL, usd(1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=charge, args=(journal, 3, GLOBAL)) for _ in range(3)]
        for child in children:
            child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert spent(journal) == 9
    check(journal)


def test_a_child_of_a_closed_ledger_finds_it_closed(journal: JournalLedger) -> None:
    journal.close()

    def child() -> None:
        with pytest.raises(Exception, match="is closed"):
            journal.read(GLOBAL)

    forked(child)
