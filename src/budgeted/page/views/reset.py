"""Setting what an account has spent back to zero: it may spend it all again, and so its name is typed before."""

from __future__ import annotations

from budgeted.errors import UnknownUserError
from budgeted.page.asking import Asked, Done, Shown
from budgeted.page.views.account_fields import account_of, called, page_of
from budgeted.page.views.questions import question


def act(asked: Asked) -> Done | Shown:
    """Reset an account, once its name was typed."""
    account = account_of(asked)
    wanted = asked.project if account is None else account
    typed = asked.form.get("typed", "")
    if "agreed" not in asked.form or typed.strip() != wanted.strip():
        problem = f"that is not {wanted}: nothing was reset" if "agreed" in asked.form else ""
        told = [
            f"What counts as spent in the limits of {called(account)} becomes nothing: all may be spent once more.",
            "Calls in flight and reports stay as they are.",
            "This cannot be undone. To let somebody go on until the period ends, top up instead.",
        ]
        heading = f"Reset what was spent by {called(account)}?"
        return question(asked, heading, told, "Reset", is_grave=True, type_name=wanted, problem=problem)
    try:
        asked.books.reset_cost(account)
    except UnknownUserError:
        return Done(asked.link("/page/users"), f"Nobody knows {called(account)}: nothing was reset")
    told_then = f"What was spent by {called(account)} counts no more"
    return Done(page_of(asked, account), told_then, f"reset what {account!r} had spent")
