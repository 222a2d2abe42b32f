"""One request as it is sent over HTTP, and what reads requests of its shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

import msgspec

from budgeted.errors import UnpricedModelError
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.parameter_coercion import mapping

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

    model_name: ClassVar[str] = "model"
    """What a body calls the model; "" where that stands elsewhere, and no other can be asked for."""

    @abstractmethod
    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed.

        Args:
            http: as it is about to be sent.
        """

    told_by: ClassVar[tuple[str, ...]] = ()
    """Headers that change what a request costs, by their names in lower case."""

    def told(self, request: Request, headers: Mapping[str, str]) -> None:  # noqa: B027 - most are told nothing
        """Note what the headers of a request say of its costs.

        Args:
            request: as it was read.
            headers: those of :attr:`told_by` that it has.
        """

    def cap_at(self, http: HTTPRequest, request: Request) -> tuple[str, ...]:  # noqa: ARG002 - for those that differ
        """Where a body has its output cap: the names that lead there, at most two.

        Args:
            http: as it was read.
            request: as which it is sent.
        """
        return ("max_tokens",)

    def with_model(self, http: HTTPRequest, model: str) -> HTTPRequest:
        """The same for another model.

        Args:
            http: as it was read.
            model: its name.

        Raises:
            UnpricedModelError: it cannot be asked for in this request's place.
        """
        if not self.model_name:
            raise cannot_ask(http, model, "its API has no place for it")
        return with_body(http, **{self.model_name: model})

    def granted(self, http: HTTPRequest, request: Request, *, model: str | None, cap: int | None) -> HTTPRequest:
        """The same with what was granted.

        Args:
            http: as it was read.
            request: as which it is sent.
            model: another model than it asks for, to be written into it; None to leave it as it is.
            cap: output tokens, to be written into it; None to leave it as it is.

        Raises:
            UnpricedModelError: the model cannot be asked for in this request's place.
        """
        if model is not None:
            http = self.with_model(http, model)
        if cap is None:
            return http
        return msgspec.structs.replace(http, body=with_cap(http.body, self.cap_at(http, request), cap))

    def asking_usage(self, http: HTTPRequest, request: Request) -> tuple[HTTPRequest, bool]:  # noqa: ARG002 - for those that are not told unasked
        """The same, asking for its stream to say what it used, and whether to hide from the caller what says it.

        Args:
            http: as it is about to be sent.
            request: as it was read.
        """
        return http, False


def cannot_ask(http: HTTPRequest, model: str, reason: str) -> UnpricedModelError:
    """The refusal to send a request for a model that cannot be asked for.

    Args:
        http: the request.
        model: the one that was granted in the place of its own.
        reason: why it cannot.
    """
    return UnpricedModelError(
        f"{model!r} cannot be asked for in the place of the model of {http.path}: {reason}; nothing was sent. Send it "
        f"by an SDK that is hooked, or without fallback="
    )


def with_cap(body: Body, place: tuple[str, ...], cap: int) -> dict[str, Any]:
    """A body with an output cap.

    Args:
        body: a request's JSON.
        place: where it has its cap, as :meth:`Format.cap_at` tells it.
        cap: in tokens.
    """
    name, *inner = place
    return {**body, name: {**mapping(body.get(name)), inner[0]: cap} if inner else cap}


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
