"""The views of the page, by their paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from budgeted.page.asking import Asked, Done, Shown
from budgeted.page.views import overview, user, users


class View(NamedTuple):
    """What is at one path.

    Args:
        show: what a person looks at; None where there is only something to do.
        act: what a form there does; None where there is none. A ``Shown`` is a question that comes first.
        heading: in the navigation, or "".
    """

    show: Callable[[Asked], Shown] | None
    act: Callable[[Asked], Done | Shown] | None = None
    heading: str = ""


VIEWS: Final[Mapping[str, View]] = {
    "/": View(overview.show, heading="Overview"),
    "/page/users": View(users.show, heading="Users"),
    "/page/user": View(user.show),
}
