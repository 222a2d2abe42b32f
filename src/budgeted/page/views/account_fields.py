"""The account that a form is about: a user, ``key:KEY`` or ``tag:NAME=VALUE``, or none for everything together."""

from __future__ import annotations

from budgeted.page.asking import Asked, FormError


def account_of(asked: Asked) -> str | None:
    """The name that a form or an address gives, whatever is in it; None for the global account.

    Raises:
        FormError: a form names none, not even that of everything together, which is the empty one.
    """
    if asked.form and "account" not in asked.form:
        msg = "this form does not say whose account it is about: load the page anew and try again"
        raise FormError(msg)
    return (asked.form or asked.query).get("account") or None


def called(account: str | None) -> str:
    """An account within a sentence."""
    return "everything together" if account is None else f"“{account}”"


def sentence(text: str) -> str:
    """Text with a capital at its beginning, and all else as it is."""
    return text[:1].upper() + text[1:]


def page_of(asked: Asked, account: str | None) -> str:
    """The address of the page that an account is on."""
    return asked.link("/") if account is None else asked.link("/page/user", name=account)
