"""Limits to edit: what a change would do is shown before it is made."""

from __future__ import annotations

import secrets

from budgeted.page.asking import Asked, Done, Shown
from budgeted.page.tried_changes import ChangedMeanwhileError, set_limits, try_limits
from budgeted.page.views.account_fields import account_of, called, page_of


def show(asked: Asked) -> Shown:
    """The limits of an account, as text to edit."""
    account = account_of(asked)
    text = " + ".join(balance.text for balance in asked.books.balances(account))
    return _form(asked, account, text)


def act(asked: Asked) -> Done | Shown:
    """Show what new limits would do; or set them, once that was agreed to."""
    account, text = account_of(asked), asked.form.get("text", "").strip()
    try:
        if "agreed" not in asked.form:
            return _preview(asked, account, text)
        set_limits(asked.books, account, text, asked.form.get("seen", ""))
    except ChangedMeanwhileError as error:
        return _preview(asked, account, text, str(error))
    except ValueError as error:
        return _form(asked, account, text, str(error))
    now = " + ".join(balance.text for balance in asked.books.balances(account)) or "no limits"
    return Done(
        page_of(asked, account), f"The limits of {called(account)} are now: {now}", f"limits of {account!r}: {now}"
    )


def _form(asked: Asked, account: str | None, text: str, problem: str = "") -> Shown:
    data = {"account": account, "called": called(account), "text": text, "problem": problem}
    return Shown("edit_limits.html", "Limits", {**data, "back": page_of(asked, account)}, 422 if problem else 200)


def _preview(asked: Asked, account: str | None, text: str, problem: str = "") -> Shown:
    tried = try_limits(asked.books, account, text)
    data = {
        "account": account,
        "heading": f"New limits of {called(account)}",
        "action": asked.link("/page/limits"),
        "fields": {"account": account or "", "text": text, "seen": tried.seen, "once": secrets.token_urlsafe(12)},
        "changes": tried.changes,
        "button": "Set these limits",
        "nothing_changes": tried.nothing_changes,
        "no_limits": not tried.text,
        "problem": problem,
        "back": asked.link("/page/limits", account=account),
    }
    return Shown("changed_limits.html", "New limits", data, 409 if problem else 200)
