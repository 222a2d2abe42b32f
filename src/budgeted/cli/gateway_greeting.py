"""What ``budgeted gateway`` says as it starts: where it is, and what limits it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from budgeted.gateway.stated_gateway import StatedGateway
from budgeted.http_server.tokens import WRITE, Tokens
from budgeted.manager.budget_manager import BudgetManager

_ANY = {str(ipaddress.IPv4Address(0)): "127.0.0.1", "::": "::1"}
"""What listens at all addresses of the machine is reached here by loopback."""


def greeting(
    stated: StatedGateway,
    addresses: Sequence[tuple[str, int]],
    scheme: str,
    manager: BudgetManager | None,
    tokens: Tokens,
) -> str:
    """Where a gateway listens, what SDKs and agents are to be told, who pays, and which limits hold.

    Args:
        stated: how it is set up.
        addresses: where it listens.
        scheme: ``"http"`` or ``"https"``.
        manager: whose accounts pay; None while the ledger is away.
        tokens: with which its page shows everything.
    """
    urls = [f"{scheme}://{_place(host)}:{port}" for host, port in addresses]
    url = urls[0]
    who = "open to this machine" if stated.settings.open else "for keys that `budgeted keys create USER` makes"
    lines = [
        f"budgeted gateway on {' and '.join(urls)}, {who} (CTRL+C ends it)",
        f"  OPENAI_BASE_URL={url}/v1 ANTHROPIC_BASE_URL={url} GOOGLE_GEMINI_BASE_URL={url}",
        f"  page: {url}/ {whose_page(stated, tokens)}",
        f"  {limits_told(manager)}",
    ]
    return "\n".join(lines)


def whose_page(stated: StatedGateway, tokens: Tokens) -> str:
    """To whom a gateway shows its page.

    Args:
        stated: how it is set up.
        tokens: with which it shows everything.
    """
    if stated.settings.open:
        return "for whoever is on this machine" + (f" and has a token of {WRITE}" if tokens.every else "")
    if tokens.every:
        return "for who has a token, and for a key what is its user's"
    return f"for a key what is its user's; {WRITE} is not set, so nobody is shown everything"


def limits_told(manager: BudgetManager | None) -> str:
    """Which limits hold for whoever asks, in a sentence.

    Args:
        manager: whose accounts pay; None while the ledger is away.
    """
    if manager is None:
        return "limits: as the ledger has them, once it is there; until then nothing is sent"
    found = " + ".join(balance.text for balance in manager.balances())
    others = manager.settings.default_user_limits
    users = ", ".join(f"{pattern}: {' + '.join(map(str, limits))}" for pattern, limits in others.patterns)
    told = [f"{found} for all together"] if found else []
    told += [f"of users that have none of their own: {users}"] if users else []
    if not told:
        return (
            "limits: none holds for all, nor for users without limits of their own; --limit '$10/day' sets one, and "
            "`budgeted limits set '$5/day' --user NAME`"
        )
    return f"limits: {'; '.join(told)}"


def _place(host: str) -> str:
    host = _ANY.get(host, host)
    return f"[{host}]" if ":" in host else host
