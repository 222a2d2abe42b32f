"""What the headers of a gateway's answers tell of money, to those who ask for it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final

from budgeted.gateway.beside import beside
from budgeted.gateway.shared_parts import Gateway
from budgeted.money import plain_usd
from budgeted.payers.block import Budget

ASKED: Final = b"x-budgeted-headers"
"""By this header of a request, with any value but ``0``, its answer is to tell."""

SPENT, REMAINING = b"x-budgeted-spent", b"x-budgeted-remaining"


def wanted(gateway: Gateway, headers: Mapping[bytes, bytes]) -> bool:
    """Whether an answer is to tell.

    Args:
        gateway: which one.
        headers: of the request.
    """
    return headers.get(ASKED, b"1" if gateway.settings.headers else b"0") != b"0"


async def figures(gateway: Gateway, block: Budget, *, ended: bool) -> list[tuple[bytes, bytes]]:
    """The headers: what the request has cost, and what its user has left, in USD.

    Args:
        gateway: which one.
        block: of the request.
        ended: whether its cost is known by now; that of a stream is not when its headers are sent.
    """
    found = [(SPENT, plain_usd(block.spent).encode())] if ended else []
    # Whatever is wrong with the ledger: what was paid for is answered.
    with contextlib.suppress(Exception):
        balance = await beside(gateway.manager.ledger, lambda: gateway.manager.balance(block.user))
        if balance.remaining is not None:
            found.append((REMAINING, plain_usd(balance.remaining).encode()))
    return found
