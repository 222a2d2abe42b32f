"""How a project stands, at a glance: what is left, who is near a limit, who waits, and who was refused."""

from __future__ import annotations

from typing import Final

from budgeted.manager.project_status import ProjectStatus, project_status
from budgeted.page.asking import Asked, Shown
from budgeted.page.views.call_lines import lines

MOST: Final = 8
"""Users, and refused calls, that are shown; others have pages of their own."""


def show(asked: Asked) -> Shown:
    """The overview."""
    status, activity = _status(asked), asked.books.activity()
    data = {
        "status": status,
        "users": status.accounts[:MOST],
        "more": len(status.accounts) > MOST or not status.complete,
        "activity": activity,
        "waiting": lines(asked, activity.waiting),
        "refusals": lines(asked, activity.refusals[:MOST]),
        "is_new": status.complete
        and not (status.accounts or status.calls_today or any(one.limit for one in status.balances)),
    }
    return Shown("overview.html", "Overview", data)


def _status(asked: Asked) -> ProjectStatus:
    return project_status(asked.books, lambda _: asked.spending.busiest(asked.project))
