"""Stopping an account, so that every call is refused, and letting calls go on."""

from __future__ import annotations

from budgeted.page.asking import Asked, Done, Shown
from budgeted.page.views.account_fields import account_of, called, page_of, sentence
from budgeted.page.views.questions import question


def stop(asked: Asked) -> Done | Shown:
    """Refuse every call of an account, once that was agreed to."""
    account, reason = account_of(asked), asked.form.get("reason", "").strip()
    whose = "all calls" if account is None else f"all calls of {called(account)}"
    if "agreed" not in asked.form:
        told = [
            f"From then on {whose} are refused at once, in all processes. Calls in flight end as they would.",
            f"Whoever is refused is told: {reason}" if reason else "No reason is given to whoever is refused.",
        ]
        return question(asked, f"Stop {whose}?", told, "Stop", {"reason": reason}, is_grave=True)
    asked.books.stop(account, reason)
    return Done(page_of(asked, account), f"Stopped: {whose} are refused", f"stopped {account!r}: {reason!r}")


def resume(asked: Asked) -> Done | Shown:
    """Let calls go on that were stopped, once that was agreed to."""
    account = account_of(asked)
    whose = "all calls" if account is None else f"calls of {called(account)}"
    info = asked.books.info(account)
    if info is None or not info.stopped:
        return Done(page_of(asked, account), sentence(f"{called(account)} is not stopped"))
    if "agreed" not in asked.form:
        return question(asked, f"Let {whose} go on?", [f"They were stopped for this reason: {info.stopped}"], "Resume")
    asked.books.resume(account)
    return Done(page_of(asked, account), sentence(f"{whose} go on"), f"resumed {account!r}")
