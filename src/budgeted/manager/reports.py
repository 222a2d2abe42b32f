"""Reports: what was spent, summed under one heading, so that it adds up to what the global account was charged."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from budgeted.ledger import background_worker
from budgeted.ledger.accounts import USD, account_kind, account_name, is_would_refuse
from budgeted.ledger.limit_conversion import EPOCH
from budgeted.ledger.spending_records import RollupRow
from budgeted.manager import refusing_limits
from budgeted.manager.account_names import called, free_name, is_key, told_apart
from budgeted.manager.accounts import Accounts
from budgeted.manager.project_payer import ProjectPayer
from budgeted.manager.report_days import days_between
from budgeted.manager.report_sums import Figures, Heading, Sums
from budgeted.manager.spending_report import Report, ReportRow
from budgeted.money import to_usd
from budgeted.pricing import price_registry
from budgeted.pricing.tool_prices import TOOL
from budgeted.telemetry.forecast import exhausted_at
from budgeted.validation import check_text, shown

By: TypeAlias = Literal["user", "model", "provider", "day", "tool", "key", "account", "would_refuse"]

BY: Final = ("user", "model", "provider", "day", "tool", "key", "account", "would_refuse")

_TAG: Final = "tag:"

LAST_DAY: Final = dt.date(9800, 1, 1).toordinal() - EPOCH
"""The last day that rows are asked for from: there are none of later ones, and not all ledgers count as far."""


def report(payer: ProjectPayer, by: str, since: object, until: object) -> Report:
    """What was spent, by one of :data:`BY` or ``tag:NAME``: the dearest first, days in order, what is left at the end.

    Args:
        payer: whose.
        by: the heading.
        since: the first day, as :func:`days_between` takes it.
        until: the last day.
    """
    heading = heading_of(by)
    first, last = days_between(since, until, payer.timezone)
    background_worker.drain()
    rows = payer.ledger.rollups(0 if first is None else min(max(0, _number(first)), LAST_DAY), heading.account)
    if last is not None:
        number = _number(last)
        rows = [row for row in rows if row.day <= number]
    sums = Sums(heading, rows)
    made = Report(_named_rows(payer, by, sums.named))
    made.by, made.since, made.until = by, first, last
    made.total = _row(sums.total)
    if any(sums.rest):
        made.rest = free_name(heading.rest, made)
        made[made.rest] = _row(sums.rest)
    made.shared = _row(sums.shared)
    return made


def heading_of(by: object) -> Heading:
    """How the ledger's rows are summed up by one of :data:`BY` or ``tag:NAME``.

    Raises:
        ValueError: ``by`` is none of these; the text quotes it.
    """
    if isinstance(by, str) and by.startswith(_TAG) and by != _TAG:
        return _tag(check_text(by.removeprefix(_TAG), "a tag's name"))
    if not isinstance(by, str) or by not in _HEADINGS:
        known = ", ".join(map(repr, (*BY, "tag:NAME")))
        msg = f"by={shown(by)} is not known; write one of {known}"
        raise ValueError(msg)
    return _HEADINGS[by]


def _tag(name: str) -> Heading:
    if "=" in name:
        tag = name.partition("=")[0]
        msg = f"by={shown(_TAG + name)} names one value of a tag; write by={shown(_TAG + tag)} for a row of each"
        raise ValueError(msg)
    return Heading(lambda row: _behind(f"t:{name}=", row.account), None, "(untagged)")


def _behind(begin: str, account: str) -> str | None:
    return account[len(begin) :] if account.startswith(begin) else None


def _tool(row: RollupRow) -> str | None:
    return row.model if row.provider == TOOL else None


def _key(row: RollupRow) -> str | None:
    return row.account[2:] if is_key(row.account) else None


def _day(row: RollupRow) -> str:
    return dt.date.fromordinal(row.day + EPOCH).isoformat()


def _account(row: RollupRow) -> str | None:
    return row.account if called(row.account) is not None else None


_HEADINGS: Final[Mapping[str, Heading]] = {
    "user": Heading(lambda row: _behind("u:", row.account), None, "(nobody)", "o:u"),
    "model": Heading(lambda row: row.model),
    "provider": Heading(lambda row: row.provider or _provider_of(row.model)),
    "day": Heading(_day),
    "tool": Heading(_tool, rest="(no tool)"),
    "key": Heading(_key, None, "(no key)", "o:b", lambda row: row.account[:2] == "b:" and not is_key(row.account)),
    "account": Heading(_account, None, side_by_side=True),
    "would_refuse": Heading(lambda row: row.account if is_would_refuse(row.account) else None, None),
}


def _row(figures: Figures, ends: dt.datetime | None = None) -> ReportRow:
    usd, calls, sent, output, guessed = figures
    return ReportRow(to_usd(usd), calls, sent, output, to_usd(guessed), ends)


def _named_rows(payer: ProjectPayer, by: str, named: Mapping[str, Figures]) -> list[tuple[str, ReportRow]]:
    """The rows in their order, under the names that people know."""
    ends = _exhaustions(payer) if by == "user" else {}
    found = sorted(named.items(), key=lambda item: item[0] if by == "day" else (-item[1][0], item[0]))
    rows = [(name, _row(figures, ends.get(name))) for name, figures in found]
    if by == "account":
        names = told_apart({account: (called(account) or account, account_kind(account)) for account, _ in rows})
    elif by == "would_refuse":
        names = refusing_limits.names(payer.ledger, (account for account, _ in rows))
    else:
        return rows
    return [(names[account], row) for account, row in rows]


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


def _number(day: dt.date) -> int:
    """A day as the ledger counts them."""
    return day.toordinal() - EPOCH


def _provider_of(model: str) -> str:
    price = price_registry.find(model)
    return price.provider if price is not None and price.provider else "unknown"
