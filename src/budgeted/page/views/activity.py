"""What goes on in all processes: calls that wait and that ask, the last that were refused and why, calls in flight."""

from __future__ import annotations

from typing import Final

from budgeted.page.asking import Asked, Shown
from budgeted.page.views.call_lines import lines

MOST_IN_FLIGHT: Final = 100
"""Calls in flight that are shown, the oldest ones."""


def show(asked: Asked) -> Shown:
    """What goes on now, and what was refused lately."""
    activity = asked.books.activity()
    data = {
        "waiting": lines(asked, activity.waiting),
        "refusals": lines(asked, activity.refusals),
        "refused_today": activity.refused_today,
        "in_flight": activity.in_flight[:MOST_IN_FLIGHT],
        "in_flight_count": len(activity.in_flight),
        "held": sum(call.held for call in activity.in_flight),
    }
    return Shown("activity.html", "Activity", data)
