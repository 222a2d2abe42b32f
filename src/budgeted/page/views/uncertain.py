"""Charges that nobody has confirmed: what they were charged and why, until somebody says what they have cost."""

from __future__ import annotations

import math
from typing import Final

from budgeted.errors import LedgerError
from budgeted.money import format_usd, nano_usd
from budgeted.page.asking import Asked, Done, Shown
from budgeted.page.views.account_fields import account_of
from budgeted.page.views.questions import question

PATH: Final = "/page/uncertain"

ON_A_PAGE: Final = 50


def show(asked: Asked) -> Shown:
    """A page of them, of an account or of all, the oldest first."""
    return _list(asked)


def act(asked: Asked) -> Done | Shown:
    """Put a charge right, by its id. What is more than was held is asked once more."""
    id, written = asked.form.get("id", ""), asked.form.get("cost", "").strip()
    try:
        cost = nano_usd(written, "the cost")
    except ValueError as error:
        return _list(asked, id, str(error))
    charge = asked.books.ledger.ended(id) if id else None
    model = "" if charge is None or not charge.model else f" of {charge.model}"
    account = account_of(asked)
    here = asked.link(PATH, page=asked.form.get("page"), account=account)
    if charge is None or not charge.reason:
        # Another tab, another person or a late answer was quicker: what they have said is not replaced unseen.
        same = charge is not None and charge.used.usd == cost
        told = f"That call is recorded at {format_usd(cost)}" if same else "That charge is not uncertain any more"
        return Done(here, told if same else f"{told}: nothing was changed")
    if cost > charge.held and "agreed" not in asked.form:
        why = [
            f"Only {format_usd(charge.held)} was held for this call{model}: it should not have cost more.",
            f"{format_usd(cost)} is recorded in full, as an overrun.",
        ]
        heading, fields = f"Record {format_usd(cost)}?", {"id": id, "cost": written, "account": account or ""}
        return question(asked, heading, why, "Record it", fields, is_grave=True, back=here)
    try:
        asked.books.reconcile(id, cost=written)
    except LedgerError as error:
        return _list(asked, id, str(error))
    told_then = f"The call{model} cost {format_usd(cost)} instead of {format_usd(charge.used.usd)}"
    return Done(here, told_then, f"reconciled {id!r}: {format_usd(cost)} instead of {format_usd(charge.used.usd)}")


def _list(asked: Asked, wrong: str = "", problem: str = "") -> Shown:
    page = _number(asked.form.get("page") or asked.query.get("page", "1"))
    account = account_of(asked)
    found = asked.books.uncertain_page(account, (page - 1) * ON_A_PAGE, ON_A_PAGE)
    pages = max(1, math.ceil(found.count / ON_A_PAGE))
    if page > pages:
        page, found = pages, asked.books.uncertain_page(account, (pages - 1) * ON_A_PAGE, ON_A_PAGE)
    data = {
        "account": account,
        "charges": found.charges,
        "count": found.count,
        "in_all": found.cost,
        "page": page,
        "pages": pages,
        "wrong": wrong,
        "written": asked.form.get("cost", ""),
        "problem": problem,
    }
    return Shown("uncertain.html", "Uncertain charges", data, 422 if problem else 200)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 8 and int(text) else 1
