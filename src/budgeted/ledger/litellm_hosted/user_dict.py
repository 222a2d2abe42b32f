"""LiteLLM's record of a user, made from an account, and taken over into one.

A record is what LiteLLM's ``BudgetManager`` keeps in ``user_cost.json`` and sends to ``/set_budget``:
``{total_budget, duration (days), created_at, last_updated_at, current_cost, model_cost: {model: USD}}``, of which only
the first must be there.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import msgspec

from budgeted.ledger.accounts import GLOBAL, USD, Account, Slot, user_account
from budgeted.ledger.cost_routing import Leg, Route, Stale
from budgeted.ledger.interface import Ledger
from budgeted.ledger.limit_conversion import day_number, is_budget, limit_of, present, spec, spec_of
from budgeted.ledger.spending_records import Used
from budgeted.limits.limit import Limit
from budgeted.limits.periods import Period
from budgeted.money import NANO, nano_usd, to_usd
from budgeted.validation import shown

UNKNOWN = "unknown"
"""The model of what was spent on nobody knows which."""

LATE_SECONDS = 10.0
"""How much later than a newer dictionary an older one may come: LiteLLM sends each in a thread of its own."""

_DAYS = {"second": 1 / 86_400, "minute": 1 / 1440, "hour": 1 / 24, "day": 1, "week": 7, "month": 30, "year": 365}
_FIELDS = {"total_budget", "duration", "created_at", "last_updated_at", "current_cost", "model_cost"}


class Record(msgspec.Struct):
    """A user's record, checked. Amounts are nano-USD; ``since`` is when its present period began, in unix seconds."""

    budget: int | None
    days: float | None
    since: float | None
    spent: int
    models: dict[str, int]


class Recent:
    """The charges of the last seconds, by account: what a dictionary that comes late seems to take back."""

    def __init__(self) -> None:
        self._charges: dict[str, list[tuple[float, str, int]]] = {}

    def add(self, account: str, id: str, usd: int) -> None:
        """Note a charge that was made now."""
        self._charges[account] = [*self.of(account), (time.monotonic(), id, usd)]

    def of(self, account: str) -> list[tuple[float, str, int]]:
        """Those of an account that are recent still: when, the charge's id, nano-USD."""
        oldest = time.monotonic() - LATE_SECONDS
        found = [one for one in self._charges.pop(account, ()) if one[0] > oldest]
        if found:
            self._charges[account] = found
        return found

    def take_back(self, ledger: Ledger, account: str, usd: int, now: float) -> bool:
        """Correct the last charges by so much in all; False if they were not that much."""
        charges = self.of(account)
        if usd > sum(cost for _, _, cost in charges):
            return False
        while usd and charges:
            at, id, cost = charges.pop()
            less = min(cost, usd)
            if ledger.correct(id, Used(cost - less), int(now)) is None:
                return False
            if cost > less:
                charges.append((at, id, cost - less))
            usd -= less
        self._charges[account] = charges
        return True


# -- from an account


def record_of(account: Account, now: float, tz: dt.tzinfo) -> dict[str, Any]:
    """An account as LiteLLM would keep it. A period that has ended by now counts as begun anew.

    Args:
        account: as the ledger has it.
        now: unix seconds.
        tz: the time zone whose calendar counts.
    """
    record: dict[str, Any] = {}
    main = _main(account)
    if main is not None:
        limit = limit_of(main)
        record["total_budget"] = to_usd(limit.amount)
        if limit.period is not None:
            start = int(now) - limit.period.seconds if limit.period.rolling else limit.window(now, tz)[0]
            record["duration"] = _days(limit.period)
            record["created_at"] = float(start) if limit.anchor is None else _anchored(limit.anchor, tz)
            record["last_updated_at"] = float(start)
    spent, models = _spent(account, now, tz)
    record["current_cost"] = to_usd(spent)
    record["model_cost"] = {model: to_usd(cost) for model, cost in models.items()}
    return record


def _main(account: Account) -> Slot | None:
    return next((slot for slot in account.slots if is_budget(slot)), None)


def _spent(account: Account, now: float, tz: dt.tzinfo) -> tuple[int, dict[str, int]]:
    """Nano-USD in the present period, in all and by model."""
    main = _main(account)
    models = account.models or {}
    if main is None:
        return account.usd, models
    first = account.slots[0]
    if first.end <= now or account.models_since != first.start:
        models = {}
    return present(main, now, tz).spent, models


def _days(period: Period) -> float:
    """A period in days, as LiteLLM counts them: a month has 30, a year 365."""
    return period.count * _DAYS[period.unit]


def _anchored(anchor: dt.datetime, tz: dt.tzinfo) -> float:
    return (anchor if anchor.tzinfo is not None else anchor.replace(tzinfo=tz)).timestamp()


# -- into an account


def read(user_dict: object) -> dict[str, Record]:
    """Check a whole dictionary of records.

    Raises:
        TypeError, ValueError: it is none; the text names the user and the field.
    """
    if not isinstance(user_dict, Mapping):
        msg = f"users' records are a dictionary by user, got {shown(user_dict)}"
        raise TypeError(msg)
    return {user: _read(user, record) for user, record in user_dict.items()}


def _read(user: object, record: object) -> Record:
    what = f"the record of user {shown(user)}"
    if not isinstance(record, Mapping):
        msg = f"{what} must be a dictionary such as {{'total_budget': 10}}, got {shown(record)}"
        raise TypeError(msg)
    if not record.keys() & _FIELDS:
        msg = f"{what} has none of LiteLLM's fields ({', '.join(sorted(_FIELDS))}), got {shown(record)}"
        raise ValueError(msg)
    models = record.get("model_cost") or {}
    if not isinstance(models, Mapping):
        msg = f"model_cost in {what} must be a dictionary by model, got {shown(models)}"
        raise TypeError(msg)
    try:
        budget = record.get("total_budget")
        return Record(
            budget=None if budget is None else nano_usd(budget, "total_budget", up=False),
            days=_number(record.get("duration"), "duration", most=365_000),
            since=_number(
                record.get("last_updated_at", record.get("created_at")), "last_updated_at", most=32_503_680_000
            ),
            spent=_nearest(record.get("current_cost", 0), "current_cost"),
            models={str(model): _nearest(cost, f"model_cost of {shown(model)}") for model, cost in models.items()},
        )
    except (TypeError, ValueError) as error:
        msg = f"{what} makes no sense: {error}"
        raise ValueError(msg) from None


def _number(value: object, what: str, most: float) -> float | None:
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not 0 < value <= most
    ):
        msg = f"{what} must be a number above 0, got {shown(value)}"
        raise ValueError(msg)
    return value


def _nearest(value: object, what: str) -> int:
    """The nearest nano-USD: sums of floats are off by less than that, on either side."""
    nano_usd(value, what)
    return round(Fraction(str(value)) * NANO)


def take_over(
    ledger: Ledger,
    records: Mapping[str, Record],
    now: float,
    tz: dt.tzinfo,
    *,
    past: bool = False,
    recent: Recent | None = None,
) -> None:
    """Have each user's budget and what it has spent agree with its record. Users without one are left alone.

    What a record has more than its account is charged to the user and to the global account. One that has less was
    reset; unless it lacks no more than what was charged in the last seconds: then it is an older one that comes late,
    and those charges are taken back until a newer one comes. Repeating it changes nothing.

    Args:
        ledger: where.
        records: by user.
        now: unix seconds.
        tz: the time zone whose calendar counts.
        past: True where the money was spent before now: it counts in the user's budget, if its period goes on, and in
            totals and reports, on the day that the record names, yet in no other limit.
        recent: what was charged by dictionaries before this one.
    """
    for user, record in records.items():
        name = user_account(user)
        _limit(ledger, name, record, now, tz)
        _charge(ledger, name, record, now, tz, past=past, recent=recent)


def _limit(ledger: Ledger, name: str, record: Record, now: float, tz: dt.tzinfo) -> None:
    account = ledger.read(name)
    if record.budget is None:
        if account is None:
            ledger.set_limits(name, (), explicit=True)
        return
    slots = () if account is None else account.slots
    main = None if account is None else _main(account)
    limit = _limit_of(record, main, now, tz)
    others = [spec_of(slot) for slot in slots if slot is not main and slot.limit != limit.id]
    # The whole past counts, as it did in the limit that this one replaces: what was reset is made right afterwards.
    made = msgspec.structs.replace(spec(limit, now, tz), since=0)
    ledger.set_limits(name, [made, *others], explicit=True)


def _limit_of(record: Record, main: Slot | None, now: float, tz: dt.tzinfo) -> Limit:
    """The limit that a record means; the one that the account has, if the record can have been made from it."""
    amount = record.budget or 0
    if record.days is None:
        return Limit(0).with_amount(amount)
    if main is not None:
        limit = limit_of(main)
        if limit.period is not None and _days(limit.period) == record.days:
            if limit.period.rolling:
                return limit.with_amount(amount)
            since = now if record.since is None else int(record.since)
            if record.since is None or limit.window(since, tz)[0] == since:
                return limit.with_amount(amount)
    whole = record.days == int(record.days)
    period = Period(int(record.days), "day") if whole else Period(max(1, round(record.days * 86_400)), "second")
    return Limit(0, period, anchor=now if record.since is None else record.since).with_amount(amount)


def _charge(
    ledger: Ledger, name: str, record: Record, now: float, tz: dt.tzinfo, *, past: bool, recent: Recent | None
) -> None:
    account = ledger.read(name) or Account(name)
    main = _main(account)
    ended = False
    at = now
    if past and record.since is not None and record.since <= now:
        at = record.since
        ended = main is not None and main.start > record.since
    known, by_model = (account.usd, account.models or {}) if ended else _spent(account, now, tz)
    if record.spent < known:
        if recent is not None and record.spent and recent.take_back(ledger, name, known - record.spent, now):
            return
        ledger.reset(name, int(now))
        known, by_model = 0, {}
    for model, usd in _by_model(record.spent - known, record.models, by_model):
        id = _post(ledger, name, model, usd, now, day_number(at, tz), tz, limits=not ended, past=past)
        if recent is not None:
            recent.add(name, id, usd)


def _by_model(more: int, models: Mapping[str, int], known: Mapping[str, int]) -> list[tuple[str, int]]:
    """So much by model, as far as the records say which; floats may be off by some nano-USD."""
    found: list[tuple[str, int]] = []
    for model, cost in models.items():
        usd = min(cost - known.get(model, 0), more)
        if usd > 0:
            found.append((model, usd))
            more -= usd
    if 0 < more <= 10 * len(found):
        model, usd = found.pop()
        return [*found, (model, usd + more)]
    return [*found, (UNKNOWN, more)] if more else found


def _post(
    ledger: Ledger, name: str, model: str, usd: int, now: float, day: int, tz: dt.tzinfo, *, limits: bool, past: bool
) -> str:
    """Charge the user and the global account. Returns the charge's id."""
    id = ledger.new_id()
    # Until nobody has changed the limits between reading them and charging.
    while True:
        ledger.set_limits(GLOBAL, (), explicit=False, create=True)
        payers = [(GLOBAL, not past), (name, limits)]
        legs, versions = [], []
        for payer, counts in payers:
            account = ledger.read(payer)
            if account is None:  # deleted this moment
                continue
            legs.append(Leg(payer, _windows(account, model, now, tz) if counts else ()))
            versions.append(account.version)
        route = Route.make(legs, versions, day, "", model)
        if not isinstance(ledger.post(id, route, Used(usd), int(now)), Stale):
            return id


def _windows(account: Account, model: str, now: float, tz: dt.tzinfo) -> tuple[tuple[str, int, int], ...]:
    """The USD limits that count a charge made now, in the periods that it belongs to."""
    found = []
    for slot in account.slots:
        limit = limit_of(slot)
        if slot.unit == USD and limit.matches(model):
            start, end = limit.window(now, tz)
            found.append((slot.limit, slot.start, slot.end) if slot.start > start else (slot.limit, start, end))
    return tuple(found)
