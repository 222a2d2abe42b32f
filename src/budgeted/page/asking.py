"""What a view is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import msgspec

from budgeted.manager.administrative_manager import Books
from budgeted.page.sources import Keys, Role
from budgeted.page.spending import Spending


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a view is asked.

    Attributes:
        path: of the view.
        project: which one is looked at.
        projects: all that there are, to choose from.
        books: the project's budgets.
        spending: what was spent over time.
        role: ``"write"`` or ``"read"``.
        keys: those of the gateway; None where there is none.
        own: the user whose page alone is looked at, which is then the ``name`` of the query; "" for everything.
        query: what the address says, each name once.
        form: what a form sent, each name once; empty where none was.
    """

    path: str
    project: str
    projects: Sequence[str]
    books: Books
    spending: Spending
    role: Role
    query: Mapping[str, str]
    form: Mapping[str, str] = {}
    keys: Keys | None = None
    own: str = ""

    def link(self, path: str, **query: str | int | None) -> str:
        """The address of a view of the same project.

        Args:
            path: of the view.
            query: what it is asked; None for what is left out.
        """
        named = {"project": self.project, **{name: str(one) for name, one in query.items() if one is not None}}
        return f"{path}?{urlencode(named)}"


class Shown(msgspec.Struct, frozen=True):
    """What a view shows.

    Attributes:
        template: the file in ``templates``.
        title: of the page.
        data: what the template is given.
        status: HTTP's.
    """

    template: str
    title: str
    data: Mapping[str, object] = {}
    status: int = 200


class Drawn(msgspec.Struct, frozen=True):
    """A picture, in place of a page.

    Attributes:
        data: the whole file.
        media_type: what it is.
    """

    data: bytes
    media_type: str


class Done(msgspec.Struct, frozen=True):
    """A form has done something.

    Attributes:
        where: the address that is shown then.
        told: what was done, as a sentence that is shown once.
        audit: the same as it is logged, with the project and the account; None where nothing was changed.
    """

    where: str
    told: str
    audit: str | None = None


class FormError(ValueError):
    """A form cannot be done as it was sent: its text is shown, and its sender may mend it."""


class NotYoursError(Exception):
    """What is asked for is not for this session to see; the text tells it."""


class HasEndedError(Exception):
    """A session has ended before its time."""
