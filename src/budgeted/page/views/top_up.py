"""More to spend until a limit's period ends: shown before it is given, and given once."""

from __future__ import annotations

import secrets

from budgeted.errors import UnknownUserError
from budgeted.page.asking import Asked, Done, Shown
from budgeted.page.tried_changes import ChangedMeanwhileError, top_up, try_top_up
from budgeted.page.views.account_fields import account_of, called, page_of, sentence


def show(asked: Asked) -> Shown:
    """A form for how much; what it would do, where the address says how much."""
    account, amount = account_of(asked), asked.query.get("amount", "").strip()
    if not amount or asked.role != "write":
        return _form(asked, account, amount)
    try:
        return _preview(asked, account, amount)
    except UnknownUserError:
        return _form(asked, account, amount, _unknown(account))
    except ValueError as error:
        return _form(asked, account, amount, str(error))


def act(asked: Asked) -> Done | Shown:
    """Show what a top-up would do; or give it, once that was agreed to."""
    account, amount = account_of(asked), asked.form.get("amount", "").strip()
    try:
        if "agreed" not in asked.form:
            return _preview(asked, account, amount)
        top_up(asked.books, account, amount, asked.form.get("seen", ""))
    except ChangedMeanwhileError as error:
        return _preview(asked, account, amount, str(error))
    except UnknownUserError:
        return _form(asked, account, amount, _unknown(account))
    except ValueError as error:
        return _form(asked, account, amount, str(error))
    told = f"{called(account)} may spend {_written(amount)} more until the limit's period ends"
    return Done(page_of(asked, account), sentence(told), f"top-up of {account!r} by {amount}")


def _unknown(account: str | None) -> str:
    return f"nobody knows {called(account)} yet: give it limits first"


def _written(amount: str) -> str:
    return f"${amount}" if amount.replace(".", "").isdigit() else amount


def _form(asked: Asked, account: str | None, amount: str, problem: str = "") -> Shown:
    data = {"account": account, "called": called(account), "amount": amount, "problem": problem}
    return Shown("top_up.html", "Top up", {**data, "back": page_of(asked, account)}, 422 if problem else 200)


def _preview(asked: Asked, account: str | None, amount: str, problem: str = "") -> Shown:
    tried = try_top_up(asked.books, account, amount)
    data = {
        "account": account,
        "heading": f"{_written(amount)} more for {called(account)}",
        "action": asked.link("/page/top-up"),
        "fields": {"account": account or "", "amount": amount, "seen": tried.seen, "once": secrets.token_urlsafe(12)},
        "changes": tried.changes,
        "button": "Top up",
        "nothing_changes": False,
        "no_limits": False,
        "problem": problem,
        "back": page_of(asked, account),
    }
    return Shown("changed_limits.html", "Top up", data, 409 if problem else 200)
