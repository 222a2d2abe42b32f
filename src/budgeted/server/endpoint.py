"""What an endpoint is: how it is asked, what it answers, who may ask, and what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from budgeted.server.ledger_per_project import Project, Projects

Asked = TypeVar("Asked", bound=msgspec.Struct)
"""What an endpoint is asked."""


@dataclass(frozen=True, kw_only=True)
class EndpointOf(Generic[Asked]):
    """One endpoint.

    Attributes:
        method: HTTP's.
        path: where it is.
        title: what it is for, in a few words.
        about: what there is to know of it besides; "" for nothing.
        example: something that it is asked, of its own type: its JSON body, or for GET and DELETE its query.
        answer: the type of what it answers.
        run: does what is asked of a project.
        of_server: does what is asked of no single project, in place of ``run``.
        changes: whether it takes a token that may write.
        repeatable: False if it must not be done twice, so that a request is known by its key.
        brief: whether it takes but a moment where the ledger is in memory, however large that is.
        makes: whether a project that is not there is made for it; None: if it changes anything.
        project: where the body names the project; None where the query does.
        unknown_user: whether it answers 404 where there is no such user.
    """

    method: str
    path: str
    title: str
    example: Asked
    answer: object
    run: Callable[[Project, Asked], object] | None = None
    of_server: Callable[[Projects, Asked], object] | None = None
    about: str = ""
    changes: bool = False
    repeatable: bool = True
    brief: bool = False
    makes: bool | None = None
    project: Callable[[Asked], str] | None = None
    unknown_user: bool = False

    @property
    def asks(self) -> type[Asked]:
        """The type of what it is asked."""
        return type(self.example)

    @property
    def makes_project(self) -> bool:
        """Whether a project that is not there is made for it."""
        return self.changes if self.makes is None else self.makes

    @property
    def has_body(self) -> bool:
        """Whether its argument is the request's body."""
        return self.method in ("POST", "PUT")

    @property
    def id(self) -> str:
        """What it is called in the description, and by clients that are made of that."""
        words = self.path.strip("/").replace("v1/", "").replace("/", "_")
        return f"{self.method.lower()}_{words}"

    def does(self, projects: Projects, name: str, asked: Asked) -> object:
        """Do what is asked.

        Args:
            projects: the server's.
            name: of the one that is asked.
            asked: what.
        """
        if self.of_server is not None:
            return self.of_server(projects, asked)
        assert self.run is not None  # noqa: S101 - one of both is there
        with projects.using(name) if self.makes_project else projects.looking(name) as project:
            return self.run(project, asked)


Endpoint: TypeAlias = EndpointOf[Any]
"""An endpoint, whatever it is asked: it is given what was read as its own type."""
