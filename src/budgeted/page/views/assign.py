"""Whom a user belongs to: a team that pays whatever the user pays."""

from __future__ import annotations

from budgeted.manager.stated_belonging import TEAM
from budgeted.page.asking import Asked, Done, Shown
from budgeted.page.views.account_fields import account_of, called, page_of
from budgeted.page.views.questions import question


def act(asked: Asked) -> Done | Shown:
    """Have a user belong to a team, or to none, once that was agreed to."""
    account, team = account_of(asked), asked.form.get("team", "").strip() or None
    if account is None:
        return Done(page_of(asked, None), "Everything together belongs to no team")
    heading = (
        f"Have {called(account)} belong to {called(team)}?" if team else f"Take {called(account)} out of its team?"
    )
    if "agreed" not in asked.form:
        return question(asked, heading, _told(asked, account, team), "Assign", {"team": team or ""})
    try:
        asked.books.assign(account, team)
    except ValueError as error:
        return question(asked, heading, [], "Assign", {"team": team or ""}, problem=str(error))
    told = f"{called(account)} belongs to {called(team) if team else 'no team any more'}"
    return Done(page_of(asked, account), told, f"assigned {account!r} to {team!r}")


def _told(asked: Asked, account: str, team: str | None) -> list[str]:
    if team is None:
        return [f"What {called(account)} pays from then on is paid by no team."]
    told = [f"What {called(account)} pays from then on {called(team)} pays as well, and its limits refuse."]
    info = asked.books.info(team)
    if info is None and asked.books.info(TEAM + team) is not None:
        told.append(f"Nobody knows {called(team)}; did you mean {called(TEAM + team)}?")
    elif info is None:
        told.append(f"Nobody knows {called(team)} yet: it comes into being, without limits.")
    elif info.balances:
        told.append(f"{called(team)} has " + " + ".join(balance.text for balance in info.balances) + ".")
    else:
        told.append(f"{called(team)} has no limits yet.")
    return told
