"""LiteLLM's own budgets as limits of the ledger, where they are exact.

They are declared there as limits in code are: what an operator has set in the ledger stays, and where LiteLLM's budget
changes, the account's limits do. Soft budgets, budgets of models, and tokens and requests per minute are left to
LiteLLM.
"""

from __future__ import annotations

import asyncio
import logging
import re
import weakref
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

from budgeted.errors import BudgetError
from budgeted.integrations.litellm_proxy.payers import ORGANISATION, TEAM, Payers, Told
from budgeted.ledger.accounts import GLOBAL, tag_account, user_account
from budgeted.ledger.limit_conversion import spec
from budgeted.limits.limit import Limit
from budgeted.manager import declarations
from budgeted.manager.declared_limits import declare
from budgeted.manager.project_payer import ProjectPayer
from budgeted.manager.stated_settings import stated
from budgeted.telemetry.log_throttling import say
from budgeted.validation import shown
from budgeted.wire.request_formats.parameter_coercion import items, text

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks", "mo": "months"}
_DURATION: Final = re.compile(r"(\d+)(s|mo|m|h|d|w)")
_CALENDAR: Final = {"7d": "week", "1w": "week", "30d": "month"}
"""Durations whose budgets LiteLLM resets on Mondays, and on the first of a month."""

MOST_KNOWN: Final = 10_000
"""Accounts whose limits are known to be in the ledger; of more, they are declared again."""

Limits: TypeAlias = tuple[Limit, ...]


class LimitsOfLiteLLM:
    """What LiteLLM says may be spent, declared in the ledger before it counts."""

    def __init__(self) -> None:
        self._global = "max_budget" not in stated().settings  # else the operator has said it to this package
        self._known: weakref.WeakKeyDictionary[ProjectPayer, dict[str, Limits]] = weakref.WeakKeyDictionary()

    async def take_over(self, payer: ProjectPayer, auth: object, told: Told, who: Payers, cache: object) -> None:
        """Have the ledger limit those who pay for a call as LiteLLM does, before it is held.

        Args:
            payer: in whose ledger.
            auth: LiteLLM's ``UserAPIKeyAuth``, which has some of the budgets.
            told: whom it names.
            who: the accounts that they have.
            cache: LiteLLM's, which has users, teams, organisations and customers with the periods of their budgets.

        Raises:
            LedgerError: the ledger cannot be used.
        """
        found = dict(self._of_call(auth, who, await _records(told, cache)))
        if self._global:
            found[GLOBAL] = _of_proxy()
        known = self._known.setdefault(payer, {})
        for account, limits in found.items():
            if known.get(account, ()) != limits:
                await asyncio.to_thread(_declare, payer, account, limits)
                if len(known) >= MOST_KNOWN:
                    known.clear()
                known[account] = limits
                if account[0] == "u" and limits:
                    payer.user_limits = True

    def _of_call(self, auth: object, who: Payers, records: Mapping[str, object]) -> Iterable[tuple[str, Limits]]:
        """The limits of each account that pays for a call."""
        users = {
            (name.partition(":")[0] + ":" if name.startswith((TEAM, ORGANISATION)) else ""): name for name in who.users
        }
        if "key" in who.tags:
            windows = [(_of(auth, "max_budget"), _of(auth, "budget_duration")), *_windows(auth)]
            yield tag_account(f"key={who.tags['key']}"), _limits(windows)
        for kind, name, budget in (
            ("user", users.get(""), "user_max_budget"),
            ("team", users.get(TEAM), "team_max_budget"),
            ("organisation", users.get(ORGANISATION), "organization_max_budget"),
        ):
            if name is not None:
                yield user_account(name), _limits(_budgets(records.get(kind), _of(auth, budget)))
        if "customer" in who.tags:
            windows = _budgets(records.get("customer"), _of(auth, "end_user_max_budget"))
            yield tag_account(f"customer={who.tags['customer']}"), _limits(windows)


async def _records(told: Told, cache: object) -> dict[str, object]:
    """What LiteLLM keeps in memory of those whom it names."""
    keys = {
        "user": (told.user, (told.user,)),
        "team": (told.team, (f"team_id:{told.team}",)),
        "organisation": (
            told.organisation,
            (f"org_id:{told.organisation}:with_budget", f"org_id:{told.organisation}"),
        ),
        "customer": (told.customer, (f"end_user_id:{told.customer}",)),
    }
    get: Any = getattr(cache, "async_get_cache", None)
    found: dict[str, object] = {}
    for kind, (name, places) in keys.items():
        for key in places if name and get is not None else ():
            record = await get(key=key, local_only=True)
            if record is not None:
                found[kind] = record
                break
    return found


def _budgets(record: object, budget: object) -> list[tuple[object, object]]:
    """The budgets in one of LiteLLM's records, each with its duration; where there is none, the one that a key has."""
    table = _of(record, "litellm_budget_table")
    for one in (record, table):
        if _of(one, "max_budget") is not None:
            return [(_of(one, "max_budget"), _of(one, "budget_duration")), *_windows(one)]
    windows = _windows(record)
    return windows or [(budget, None)]


def _windows(record: object) -> list[tuple[object, object]]:
    """Further budgets, each for a period of its own."""
    return [(_of(one, "max_budget"), _of(one, "budget_duration")) for one in items(_of(record, "budget_limits"))]


def _of(record: object, name: str) -> object:
    return record.get(name) if isinstance(record, Mapping) else getattr(record, name, None)


def _of_proxy() -> Limits:
    """The limit of the whole proxy, as LiteLLM's settings have it."""
    import litellm

    budget = getattr(litellm, "max_budget", None)
    return _limits([(budget or None, getattr(litellm, "budget_duration", None))])


def _limits(budgets: Iterable[tuple[object, object]]) -> Limits:
    """Limits of the same amounts and periods; a budget that cannot be read as one is left to LiteLLM."""
    found: dict[str, Limit] = {}
    for amount, duration in budgets:
        if isinstance(amount, int | float | Decimal) and not isinstance(amount, bool):
            try:
                limit = Limit(f"${Decimal(str(amount)):f}{_period(duration)}")
            except ValueError as error:
                _tell(f"a budget of LiteLLM's is left to it, as it is no limit here: {error}")
            else:
                before = found.get(limit.id)
                found[limit.id] = limit if before is None or limit.amount < before.amount else before
    return tuple(found.values())


def _period(duration: object) -> str:
    """The period that LiteLLM calls so, as a limit has it; "" for none.

    Raises:
        ValueError: it is none.
    """
    if duration is None:
        return ""
    name = text(duration) or ""
    found = _DURATION.fullmatch(name)
    if found is None or not int(found[1]):
        msg = f"{shown(duration)} is no duration such as '30d'"
        raise ValueError(msg)
    return f"/{_CALENDAR.get(name) or f'{int(found[1])} {_UNITS[found[2]]}'}"


def _declare(payer: ProjectPayer, account: str, limits: Limits) -> None:
    """Put limits into the ledger, unless an operator has set others there."""
    now = payer.ledger.read(account)
    if now is not None and now.explicit and now.slots and not declarations.read(payer.ledger, account):
        return
    at = payer.clock()
    try:
        declare(
            payer.ledger,
            account,
            [spec(limit, at, payer.timezone) for limit in limits],
            at,
            payer.project_name,
        )
    except BudgetError:
        raise
    except ValueError as error:
        _tell(f"a budget of LiteLLM's is left to it: {error}")


def _tell(what: str) -> None:
    say(logging.WARNING, "budgeted: %s", (what,), {})
