"""A user's own page: what is left, what was spent, who pays as well, and what was refused or is uncertain."""

from __future__ import annotations

from typing import Final

from budgeted.manager.account_names import KEY, find
from budgeted.manager.activity import RefusedCall
from budgeted.manager.balances import AccountInfo
from budgeted.page.asking import Asked, Drawn, FormError, Shown
from budgeted.page.spend_over_time import spend_of_account
from budgeted.page.views.call_lines import lines
from budgeted.page.views.spend_figures import rows_of, version_of

MOST_UNCERTAIN: Final = 10
"""Uncertain charges that are shown; all are on a page of theirs."""

MOST_TEAMS: Final = 5
"""Teams above one another that are shown."""


def show(asked: Asked) -> Shown:
    """One account: a user, ``key:NAME`` or ``tag:NAME=VALUE``."""
    name = asked.query.get("name", "")
    info = asked.books.info(name) if name else None
    if info is None:
        return Shown("no_user.html", name if asked.own else "No such user", {"name": name}, 200 if asked.own else 404)
    models, providers = spend_of_account(asked.books, find(name, asked.books.ledger.read), ("model", "provider"))
    activity = asked.books.activity()
    data = {
        "info": info,
        "balances": asked.books.balances(name),
        "teams": [] if asked.own else _teams(asked, info),
        "models": models,
        "providers": providers,
        "rows": rows_of(models),
        "version": version_of(models),
        "waiting": lines(asked, (one for one in activity.waiting if _is_of(one, info))),
        "refusals": lines(asked, (one for one in activity.refusals if _is_of(one, info))),
        "uncertain": asked.books.uncertain_page(name, 0, MOST_UNCERTAIN),
    }
    return Shown("user.html", name, data)


def draw(asked: Asked) -> Drawn:
    """What the account has spent by day, as SVG."""
    from budgeted.page.charts import spend_chart

    name = asked.query.get("name", "")
    if not name:
        msg = "whose picture that is, is not said"
        raise FormError(msg)
    [spend] = spend_of_account(asked.books, find(name, asked.books.ledger.read), ("model",))
    return Drawn(spend_chart(spend, small="small" in asked.query), "image/svg+xml")


def _teams(asked: Asked, info: AccountInfo) -> list[AccountInfo]:
    """Those who pay whatever this account pays, one above the other."""
    found: list[AccountInfo] = []
    above = info.team
    while above and above not in [one.name for one in found] and len(found) < MOST_TEAMS:
        team = asked.books.info(above)
        if team is None:
            break
        found.append(team)
        above = team.team
    return found


def _is_of(call: RefusedCall, info: AccountInfo) -> bool:
    """Whether it is a limit of this account that is in a call's way."""
    called = info.name.removeprefix(KEY) if info.kind == "block" else info.name
    return (call.account_kind, call.account) == (info.kind, called)
