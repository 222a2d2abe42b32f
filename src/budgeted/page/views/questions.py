"""The question that comes before something is done."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from budgeted.page.asking import Asked, Shown
from budgeted.page.views.account_fields import account_of, page_of


def question(
    asked: Asked,
    heading: str,
    told: Sequence[str],
    button: str,
    fields: Mapping[str, str] | None = None,
    *,
    is_grave: bool = False,
    type_name: str = "",
    problem: str = "",
    back: str | None = None,
) -> Shown:
    """Ask whether it is to be done; the answer is the same form again, with ``agreed``.

    Args:
        asked: the form that wants to do it.
        heading: the question.
        told: what will come of it, a sentence each.
        button: what the button says that agrees.
        fields: what the form sends along, besides the account.
        is_grave: whether the button warns.
        type_name: what has to be typed before, or "".
        problem: what was wrong with the answer before, or "".
        back: where one goes who does not agree, where that is not the account's page; such a form names in
            ``fields`` what it is about. None for the account's page.
    """
    about = {} if back is not None else {"account": account_of(asked) or ""}
    # The second of two clicks does what the first one did.
    sent = {**about, "once": secrets.token_urlsafe(12), **(fields or {})}
    data = {
        "heading": heading,
        "sentences": told,
        "button": button,
        "fields": sent,
        "action": asked.link(asked.path),
        "is_grave": is_grave,
        "type_name": type_name,
        "problem": problem,
        "back": page_of(asked, account_of(asked)) if back is None else back,
    }
    return Shown("question.html", heading, data, 422 if problem else 200)
