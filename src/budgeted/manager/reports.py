"""Reports: what was spent, summed under one heading."""

from __future__ import annotations

import datetime as dt

from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL, USD, account_kind, account_name
from budgeted.ledger.limit_conversion import EPOCH
from budgeted.manager.accounts import Accounts
from budgeted.manager.balances import Report, ReportRow
from budgeted.manager.project_payer import ProjectPayer
from budgeted.money import to_usd
from budgeted.pricing import price_registry
from budgeted.telemetry.forecast import exhausted_at
from budgeted.validation import shown

BY = ("user", "model", "provider", "day")


def report(payer: ProjectPayer, by: str, since: dt.date | str | None) -> dict[str, ReportRow]:
    """What was spent, by one of :data:`BY`, from a day on: the dearest first, days in order."""
    if by not in BY:
        msg = f"by={shown(by)} is not known; write one of {', '.join(map(repr, BY))}"
        raise ValueError(msg)
    background_worker.drain()
    sums: dict[str, list[int]] = {}
    # All but a user's rows are among those of the global account, which every call is charged to.
    for row in payer.ledger.rollups(_since_day(since), None if by == "user" else GLOBAL):
        kind = account_kind(row.account)
        if kind != ("user" if by == "user" else "global"):
            continue
        if by == "user":
            name = account_name(row.account)
        elif by == "day":
            name = dt.date.fromordinal(row.day + EPOCH).isoformat()
        else:
            name = row.model if by == "model" else row.provider or _provider_of(row.model)
        total = sums.setdefault(name, [0, 0, 0, 0, 0])
        figures = (row.usd, row.calls, row.input_tokens, row.output_tokens, row.uncertain)
        total[:] = map(sum, zip(total, figures, strict=True))
    ends = _exhaustions(payer) if by == "user" else {}
    rows = sorted(sums.items(), key=lambda item: item[0] if by == "day" else (-item[1][0], item[0]))
    made = Report(
        (name, ReportRow(to_usd(usd), calls, sent, output, to_usd(guessed), ends.get(name)))
        for name, (usd, calls, sent, output, guessed) in rows
    )
    made.by = by
    return made


def _exhaustions(payer: ProjectPayer) -> dict[str, dt.datetime]:
    """When each user reaches the first of its limits in USD, at the present rate."""
    accounts = Accounts(payer)
    users = list(accounts.users())
    recent, at = accounts.rates(users), payer.clock()
    ends = {
        account_name(one.id): [
            end
            for slot in one.slots
            if slot.unit == USD and (end := exhausted_at(slot, at, payer.timezone, recent.get(one.id))) is not None
        ]
        for one in users
    }
    return {user: min(found) for user, found in ends.items() if found}


def _since_day(given: object) -> int:
    if given is None:
        return 0
    day = _date(given)
    if day is None:
        msg = f"since must be a date such as '2026-11-01', got {shown(given)}"
        raise ValueError(msg)
    return day.toordinal() - EPOCH


def _date(given: object) -> dt.date | None:
    if isinstance(given, str):
        try:
            given = dt.datetime.fromisoformat(given)
        except ValueError:
            return None
    if isinstance(given, dt.datetime):
        return given.date()
    return given if isinstance(given, dt.date) else None


def _provider_of(model: str) -> str:
    price = price_registry.find(model)
    return price.provider if price is not None and price.provider else "unknown"
