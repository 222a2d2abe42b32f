"""The views of the page, by their paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from budgeted.page.asking import Asked, Done, Drawn, Shown
from budgeted.page.views import (
    activity,
    assign,
    keys,
    limits,
    overview,
    reset,
    spend,
    stop,
    top_up,
    uncertain,
    user,
    users,
)


class View(NamedTuple):
    """What is at one path.

    Args:
        show: what a person looks at, or a picture on it; None where there is only something to do.
        act: what a form there does; None where there is none. A ``Shown`` is a question that comes first.
        heading: in the navigation, or "".
        own: whether it shows one account alone, by the query's ``name``: so whoever may see that one alone sees it.
    """

    show: Callable[[Asked], Shown | Drawn] | None
    act: Callable[[Asked], Done | Shown] | None = None
    heading: str = ""
    own: bool = False


OWN: Final = "/page/user"
"""Where whoever may see one user alone is led."""


VIEWS: Final[Mapping[str, View]] = {
    "/": View(overview.show, heading="Overview"),
    "/page/users": View(users.show, heading="Users"),
    OWN: View(user.show, own=True),
    "/page/user.svg": View(user.draw, own=True),
    keys.PATH: View(keys.show, keys.act, own=True),
    spend.PATH: View(spend.show, heading="Spend"),
    "/page/spend.svg": View(spend.draw),
    "/page/activity": View(activity.show, heading="Activity"),
    "/page/uncertain": View(uncertain.show, uncertain.act, heading="Uncertain"),
    "/page/limits": View(limits.show, limits.act),
    "/page/top-up": View(top_up.show, top_up.act),
    "/page/stop": View(None, stop.stop),
    "/page/resume": View(None, stop.resume),
    "/page/assign": View(None, assign.act),
    "/page/reset": View(None, reset.act),
}
