"""A user's own page."""

from __future__ import annotations

from budgeted.page.asking import Asked, Shown


def show(asked: Asked) -> Shown:
    """One account: a user, ``key:NAME`` or ``tag:NAME=VALUE``."""
    name = asked.query.get("name", "")
    info = asked.books.info(name) if name else None
    if info is None:
        return Shown("no_user.html", name if asked.own else "No such user", {"name": name}, 200 if asked.own else 404)
    uncertain = [one for one in asked.books.uncertain() if name in one.users]
    data = {"info": info, "balances": asked.books.balances(name), "uncertain": uncertain}
    return Shown("user.html", name, data)
