"""budgeted as it is measured beside other packages: below the SDK, and around a function; and the least there could be.

Everything is imported where it is used, as in `peer_adapters`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.peer_calls import CALL_USD, Guarded, sdk

if TYPE_CHECKING:
    from budgeted import BudgetManager


def known_calls(manager: BudgetManager) -> int:
    """The calls that a ledger of ours knows of, those of the dead that are not given up yet included."""
    return sum(row.calls for row in manager.report(by="model").values()) + round(manager.balance().held / CALL_USD)


@contextmanager
def budgeted(client: Any, limit: float, ledger: str = "./ledger", fsync: Any = "background") -> Iterator[Guarded]:
    from budgeted import BudgetManager

    with (
        BudgetManager("peers", max_budget=limit, ledger=os.environ.get(ledger, ledger), fsync=fsync) as manager,
        manager.budget("alice"),
    ):
        yield Guarded(sdk(client), lambda: manager.balance().spent, lambda: known_calls(manager))


def answer_at_once(_: Any) -> Callable[..., Any]:
    """A completion function that is no SDK's."""
    from benchmarks.guarded_call import response

    answer = response()
    return lambda **_: answer


@contextmanager
def decorated(_: Any, limit: float, ledger: str = "./ledger") -> Iterator[Guarded]:
    """Such a function, decorated."""
    from benchmarks.guarded_call import guarded
    from budgeted import BudgetManager

    with BudgetManager("peers", max_budget=limit, ledger=ledger) as manager:
        yield Guarded(guarded(manager), lambda: manager.balance().spent, lambda: known_calls(manager))


@contextmanager
def floor(_: Any, __: float) -> Iterator[Guarded]:
    """The least that anybody could do: hold on two accounts or none, and settle on both."""
    from benchmarks.guarded_call import Floor, floor_times

    accounts, calls = Floor(), 0

    def create(**_: Any) -> None:
        nonlocal calls
        calls += 1
        floor_times(accounts, 1)

    yield Guarded(create, lambda: 0.0, lambda: calls)
