"""What a gateway answers itself: whether it is there, and what is left of budgets."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from budgeted.errors import LedgerError
from budgeted.gateway.beside import beside
from budgeted.gateway.callers import Caller, Headers
from budgeted.gateway.refusals import AWAY, Answer
from budgeted.gateway.shared_parts import Gateway
from budgeted.ledger.accounts import account_name
from budgeted.manager.balances import Balance

_JSON: Final = (b"content-type", b"application/json")


PATHS: Final = frozenset(("/", "/health", "/health/live", "/health/ready", "/budget"))
"""What a gateway answers itself, to GET and HEAD."""


async def make(gateway: Gateway, path: str, headers: Headers) -> Answer:
    """The gateway's own answer to a request.

    Args:
        gateway: which one.
        path: one of ``PATHS``.
        headers: of the request.

    Raises:
        CallerError: it asks for somebody's budget, and nobody knows whose.
        BudgetError: the ledger is away.
    """
    if path == "/budget":
        caller = await gateway.callers.caller(headers)
        return _answer(200, await beside(gateway.manager.ledger, lambda: _budget(gateway, caller)))
    if path in ("/health", "/health/ready"):
        return await _ready(gateway)
    return _answer(200, {"status": "ok"} if path == "/health/live" else {"service": "budgeted gateway"})


async def _ready(gateway: Gateway) -> Answer:
    try:
        await beside(gateway.manager.ledger, lambda: gateway.manager.ledger.read("g"))
    except LedgerError:
        return _answer(503, {"status": "unavailable", "ledger": AWAY})
    return _answer(200, {"status": "ok", "ledger": "reachable"})


def _budget(gateway: Gateway, caller: Caller) -> dict[str, Any]:
    """What is left of the budgets of whoever asks; of the one of all, only where nobody needs a key."""
    manager = gateway.manager
    named: list[str | None] = [] if caller.user is None else [caller.user]
    named += [account_name(one) for one in caller.tags]
    if not caller.key:
        named.append(None)
    limits = [_told(name, balance) for name in named for balance in manager.balances(name)]
    return {"user": caller.user, "key": caller.key or None, "limits": limits}


def _told(name: str | None, balance: Balance) -> dict[str, Any]:
    return {
        "account": "global" if name is None else name,
        "limit": balance.text,
        "unit": balance.unit,
        "spent": balance.spent,
        "held": balance.held,
        "remaining": balance.remaining,
        "resets_at": None if balance.resets_at is None else balance.resets_at.isoformat(),
    }


def _answer(status: int, told: object) -> Answer:
    body = msgspec.json.encode(told)
    return Answer(status, [_JSON, (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")], body)
