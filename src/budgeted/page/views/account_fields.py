"""The account that a form is about: a user, ``key:KEY`` or ``tag:NAME=VALUE``, or none for everything together."""

from __future__ import annotations

from budgeted.page.asking import Asked


def account_of(asked: Asked) -> str | None:
    """The name that a form or an address gives, whatever is in it; None for the global account."""
    return asked.form.get("account") or asked.query.get("account") or None


def called(account: str | None) -> str:
    """An account within a sentence."""
    return "everything together" if account is None else f"“{account}”"


def sentence(text: str) -> str:
    """Text with a capital at its beginning, and all else as it is."""
    return text[:1].upper() + text[1:]


def page_of(asked: Asked, account: str | None) -> str:
    """The address of the page that an account is on."""
    return asked.link("/") if account is None else asked.link("/page/user", name=account)
