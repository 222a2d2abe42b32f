"""Users, found among as many as there are: a page of names at a time, in their order."""

from __future__ import annotations

from typing import Final

from budgeted.page.asking import Asked, Shown

ON_A_PAGE: Final = 50


def show(asked: Asked) -> Shown:
    """Users whose names begin as is asked, behind the last one of the page before."""
    prefix, after = asked.query.get("prefix", ""), asked.query.get("after") or None
    found = asked.books.accounts(prefix, after, ON_A_PAGE + 1)
    shown = found[:ON_A_PAGE]
    following = shown[-1].name if len(found) > ON_A_PAGE else None
    return Shown("users.html", "Users", {"prefix": prefix, "after": after, "users": shown, "following": following})
