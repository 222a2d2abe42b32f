"""Who pays, as another program or host is told of it: projects, ledgers' addresses, users, caps and policies as text.

No password is among it: a ledger whose address has one is named by whoever reads the text, by ``BUDGETED_LEDGER``.
"""

from __future__ import annotations

import hashlib
import math
from typing import cast

import msgspec

from budgeted.ledger.urls import public
from budgeted.manager.project_payer import ProjectPayer
from budgeted.manager.settings import Settings
from budgeted.payers.carried_payers import CarriedAccount, accounts_in, described
from budgeted.payers.payer_interface import Payer
from budgeted.payers.scope import Scope
from budgeted.payers.sealed_text import mistaken, opened, sealed

MAX_AGE = 86_400.0
"""Seconds for which a text is taken, by default."""

AHEAD = 300.0
"""Seconds by which the clock of whoever made a text may be ahead."""

_OTHERWISE = ("default_user_limits", "timezone", "on_event", "metric_users", "clock", "alerts_to", "alerts_secret")
"""Settings that are no plain values, or secrets: told in another way, or not at all."""


class NamedPayer(msgspec.Struct, frozen=True):
    """A payer as text tells of it.

    Args:
        project: the namespace in the ledger.
        ledger: the ledger's address; None where it has a password, or none that another process could use.
        place: tells the ledger from others, hashed: names of hosts and files are nobody's business.
        settings: by the names of the keywords of a manager, if one has to be made.
    """

    project: str
    place: str
    ledger: str | None = None
    settings: dict[str, object] = {}


class NamedPayers(msgspec.Struct, frozen=True):
    """The payers of some code, as text tells of them.

    Args:
        at: when it was made, in unix seconds.
        payers: the outermost block's first.
        accounts: of users, blocks and tags.
        innermost: the payer of the innermost block, as an index.
    """

    at: float
    payers: list[NamedPayer]
    accounts: list[CarriedAccount] = []
    innermost: int = 0


def written(scope: Scope | None, payer: ProjectPayer, secret: str) -> str:
    """The text that tells of a scope's payers.

    Args:
        scope: None for code outside every block.
        payer: of the manager that the code uses.
        secret: by which it is signed; "" for none.
    """
    payers: list[Payer] = [payer]
    accounts = tuple(accounts_in(payer.group, 0, {}))
    innermost = 0
    if scope is not None and scope.payer is not None:
        payers, accounts, innermost = described(scope)
    named = [_named(cast("ProjectPayer", one)) for one in payers]
    plain = [_finite(one) for one in accounts]
    return sealed(msgspec.json.encode(NamedPayers(payer.clock(), named, plain, innermost)), secret)


def read(text: str, secret: str, now: float, max_age: float) -> NamedPayers:
    """What a text tells.

    Args:
        text: as it came.
        secret: by which it has to be signed; "" for none.
        now: unix seconds.
        max_age: seconds that may have passed since it was made.

    Raises:
        CarrierError: it is forged, stale or damaged.
    """
    content = opened(text, secret)
    try:
        payers = msgspec.json.decode(content, type=NamedPayers)
    except msgspec.MsgspecError:
        raise mistaken(text, "is not what this version's inject() makes; leave it out, or use one version") from None
    indexes = [payers.innermost, *(one.payer for one in payers.accounts)]
    if not all(0 <= index < len(payers.payers) for index in indexes):
        raise mistaken(text, "is not what this version's inject() makes; leave it out, or use one version")
    if now - payers.at > max_age:
        problem = f"was injected {now - payers.at:.0f} seconds ago, and {max_age:.0f} are allowed"
        raise mistaken(text, f"{problem}; inject it anew for each request, or write extract(carrier, max_age=SECONDS)")
    if payers.at - now > AHEAD:
        raise mistaken(text, f"was injected {payers.at - now:.0f} seconds from now; set the clocks of both hosts")
    return payers


def place_of(payer: ProjectPayer) -> str:
    """What tells a payer's ledger from all others."""
    place = payer.ledger.place or f"memory of {payer.token}"
    return hashlib.sha256(f"{place} {payer.project_name}".encode()).hexdigest()[:16]


def _named(payer: ProjectPayer) -> NamedPayer:
    address = payer.front.ledger_address()
    if address is not None and public(address) != address:
        address = None
    return NamedPayer(payer.project_name, place_of(payer), address, _settings(payer.settings))


def _settings(settings: Settings) -> dict[str, object]:
    """Those that are not as they are by default, and that text can tell."""
    plain, found = Settings(), dict[str, object]()
    for name in Settings.__struct_fields__:
        value = getattr(settings, name)
        if name not in _OTHERWISE and value != getattr(plain, name):
            found[name] = _seconds(value) if isinstance(value, float) else value
    zone = getattr(settings.timezone, "key", None)
    if zone is not None:
        found["timezone"] = zone
    if settings.default_user_limits:
        patterns = settings.default_user_limits.patterns
        found["default_user_limits"] = {pattern: [str(limit) for limit in limits] for pattern, limits in patterns}
    return found


def _finite(account: CarriedAccount) -> CarriedAccount:
    policy = account.policy
    if policy is None:
        return account
    return msgspec.structs.replace(account, policy=msgspec.structs.replace(policy, wait=_seconds(policy.wait)))


def _seconds(seconds: float) -> float:
    """As JSON can tell it: a number for ever is none there."""
    return seconds if math.isfinite(seconds) else 1e9
