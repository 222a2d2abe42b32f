"""What the tests of a run have cost, as the table at its end."""

from __future__ import annotations

from collections.abc import Iterator

from budgeted.integrations.budget_of_test_run import PROJECT
from budgeted.ledger.accounts import GLOBAL, USD, account_name
from budgeted.ledger.interface import all_accounts
from budgeted.manager.administrative_manager import Books
from budgeted.money import format_usd, nano_usd

MOST_TESTS = 10
"""Tests that are shown, the dearest of them."""

ELSEWHERE = "(no single test: wider fixtures, collection)"


def table(folder: str) -> list[str]:
    """The lines of the table, from the ledger of a run; none where nothing was spent of no limit.

    Args:
        folder: of the ledger.
    """
    with Books(PROJECT, ledger=folder) as books:
        run = books.ledger.read(GLOBAL)
        if run is None or not (run.calls or run.slots or run.held):
            return []
        tests = [(one.usd, one.calls, account_name(one.id)) for one in all_accounts(books.ledger, "u:") if one.calls]
        tests.sort(key=lambda test: (-test[0], test[2]))
        usd, calls = _sums(tests)
        rows, others = tests[:MOST_TESTS], tests[MOST_TESTS:]
        if others:
            rows.append((*_sums(others), f"({len(others)} more)"))
        if (usd, calls) != (run.usd, run.calls):
            rows.append((run.usd - usd, run.calls - calls, ELSEWHERE))
        limit = next((slot.amount for slot in run.slots if slot.unit == USD), None)
        total = f"{format_usd(run.usd)} in {run.calls} call{'s' * (run.calls != 1)}"
        if limit is not None:
            total += f" of {format_usd(limit)}, {format_usd(max(0, limit - run.usd - run.held))} left"
        if run.held:
            total += f"; {format_usd(run.held)} is held for calls that nobody has ended"
        guessed = [nano_usd(one.cost) for one in books.uncertain()]
        if guessed:
            total += f"; {format_usd(sum(guessed))} is the most that {len(guessed)} of them can have cost: nobody said"
        return [*_rows(rows), total]


def _sums(tests: list[tuple[int, int, str]]) -> tuple[int, int]:
    return sum(usd for usd, _, _ in tests), sum(calls for _, calls, _ in tests)


def _rows(tests: list[tuple[int, int, str]]) -> Iterator[str]:
    if not tests:
        return
    spent = ["spent", *(format_usd(usd) for usd, _, _ in tests)]
    calls = ["calls", *(str(calls) for _, calls, _ in tests)]
    names = ["test", *(name for _, _, name in tests)]
    wide, narrow = max(map(len, spent)), max(map(len, calls))
    for one, two, three in zip(spent, calls, names, strict=True):
        yield f"{one:>{wide}}  {two:>{narrow}}  {three}"
