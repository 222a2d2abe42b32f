"""Requests to who tells callers by their keys, and keys to send with them."""

from __future__ import annotations

import asyncio

from budgeted import BudgetManager
from budgeted.gateway.callers import Caller, CallerError
from budgeted.gateway.key_books import KeyBooks, KeyInfo
from budgeted.gateway.key_callers import KeyCallers
from budgeted.manager.administrative_manager import Books

SECRET = "-".join("a secret of more than enough characters".split())
ENVIRONMENT = {"BUDGETED_SECRET": SECRET}


class Turn:
    """Seconds that a test moves, for what is remembered."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def books_of(manager: BudgetManager) -> Books:
    """What an operator has of a manager's project."""
    return Books(manager.project_name, ledger=manager.ledger, clock=manager.settings.clock)


def key_for(manager: BudgetManager, user: str, secret: str = SECRET, **options: object) -> tuple[str, KeyInfo]:
    return KeyBooks(books_of(manager)).create(user, secret.encode(), **options)  # type: ignore[arg-type]


def bearer(text: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"localhost"), (b"authorization", b"Bearer " + text.encode())]


def caller(callers: KeyCallers, headers: list[tuple[bytes, bytes]]) -> Caller:
    return asyncio.run(callers.caller(headers))


def refused(callers: KeyCallers, headers: list[tuple[bytes, bytes]]) -> CallerError:
    try:
        found = caller(callers, headers)
    except CallerError as error:
        return error
    raise AssertionError(found)
