"""One request as it is sent over HTTP, and what reads requests of its shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from budgeted.wire.normalized_request import Request

Body: TypeAlias = Mapping[str, Any]
"""A request's JSON: whoever reads it checks what it finds, which may be anything."""

FILES = "budgeted.files"
"""Under this name a body that is read has the files that come with it, as a list of what the caller gave."""


class HTTPRequest(msgspec.Struct, frozen=True):
    """A request, by what decides what it costs.

    Args:
        path: what it asks for, without a query: all of its URL's path, or its end.
        body: its JSON; under ``FILES``, a list of the files that come with it.
        provider: whose prices apply, as genai-prices names it.
        base_url: where it is sent, by which gateways are priced.
    """

    path: str
    body: Body
    provider: str = ""
    base_url: str | None = None


class Format(ABC):
    """How requests of one maker's API are read, and written."""

    @abstractmethod
    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed.

        Args:
            http: as it is about to be sent.
        """

    @abstractmethod
    def granted(self, http: HTTPRequest, request: Request, cap: int | None) -> HTTPRequest:
        """The same with what was granted.

        Args:
            http: as it was read.
            request: as which it is sent, perhaps to another model.
            cap: output tokens, to be written into it; None to leave it as it is.
        """

    def asking_usage(self, http: HTTPRequest, request: Request) -> tuple[HTTPRequest, bool]:  # noqa: ARG002 - for those that are not told unasked
        """The same, asking for its stream to say what it used, and whether to hide from the caller what says it.

        Args:
            http: as it is about to be sent.
            request: as it was read.
        """
        return http, False


def with_body(http: HTTPRequest, **changes: object) -> HTTPRequest:
    """The same with other parts of its body."""
    return msgspec.structs.replace(http, body={**http.body, **changes})


def unseen_at(http: HTTPRequest, unseen: Mapping[str, str]) -> Request | None:
    """A request that starts what is billed where no answer tells it, or None if it does not.

    Args:
        http: as it is about to be sent.
        unseen: what is billed there, by the ends of paths, as :attr:`Request.unseen` has it.
    """
    path = http.path.partition("?")[0]
    for end, what in unseen.items():
        if path.endswith(end):
            return Request(http.provider, str(http.body.get("model") or ""), {}, base_url=http.base_url, unseen=what)
    return None
