"""A request that an HTTP client is about to send: whether it is paid for, and what it may cost."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from budgeted.errors import UnpricedModelError
from budgeted.metering.call import Call
from budgeted.payers import scope as scopes
from budgeted.payers import swallowed_refusals
from budgeted.payers.scope import current
from budgeted.providers.metered_method import Sent
from budgeted.providers.monkeypatching import enabled
from budgeted.providers.stream_usage_refusal import note_refusing
from budgeted.providers.unmeterable_requests import held_by_hand
from budgeted.telemetry import counters, run_notes
from budgeted.telemetry.log_throttling import say
from budgeted.wire.api_endpoints import Endpoint, endpoint, plain
from budgeted.wire.normalized_request import Request
from budgeted.wire.provider_hosts import named
from budgeted.wire.request_formats import stream_usage_option
from budgeted.wire.request_formats.http_bodies import decoded
from budgeted.wire.request_formats.http_request import Body, Format, HTTPRequest, cannot_ask

_USUAL_PORTS: Final = {"https": ":443", "http": ":80"}
_SIGNED: Final = "AWS4-"


elsewhere: set[object] = set()
"""What URLs were known by that lead where nobody is paid, as most do; of no account once a manager names hosts."""

MOST_ELSEWHERE: Final = 4096

UNREADABLE: Final = object()
"""Stands for a body that is not there, or that can be read but once."""


class Posted(Sent):
    """One POST, as an HTTP client was asked for it: read, and written again with what was granted."""

    http: HTTPRequest
    read_by: Format
    signed: bool
    call: Call
    asks_usage = False
    hide_usage = False
    refused_asking = False
    by_address: ClassVar[bool] = True
    """Whether its path stands in the address that it is sent to, and is written anew there."""

    def rewritten(self, call: Call) -> HTTPRequest | None:
        """What is to be sent instead of what was given; None if it may go as it is.

        Args:
            call: which says what was granted.

        Raises:
            UnpricedModelError: another model would have to be written into it, and it is signed or has no place for it.
        """
        self.call = call
        http = self.granted(self.read_by, self.http, call)
        if self.by_address and http.path != self.http.path and self.http.path not in (self.http.base_url or ""):
            raise cannot_ask(self.http, call.request.model, "its address is written in an unusual way")
        self.asks_usage = self.hide_usage = False
        if self.signed:
            if http is not self.http:
                raise cannot_ask(self.http, call.request.model, "it is signed")
            return None
        if not self.refused_asking:
            http, self.hide_usage = self.read_by.asking_usage(http, call.request)
            option = stream_usage_option.OPTION
            self.asks_usage = http.body.get(option) is not self.http.body.get(option)
        return None if http is self.http else http

    def may_be_refused(self, status: int) -> bool:
        """Whether an answer may refuse only that its stream was asked to say what it used: then it is to be read.

        Args:
            status: of HTTP.
        """
        return self.asks_usage and stream_usage_option.is_refusal(status, stream_usage_option.OPTION)

    def is_refused(self, status: int, text: str) -> bool:
        """Whether an answer does refuse that: then the request is sent once more, without asking.

        Args:
            status: of HTTP.
            text: the answer.
        """
        if not self.may_be_refused(status) or not stream_usage_option.is_refusal(status, text):
            return False
        self.refused_asking = True
        note_refusing(self.request.base_url or "")
        return True


def watching() -> bool:
    """Whether somebody pays for what is sent here, and no layer above meters it already."""
    scope = current()
    return (bool(scopes.outside) if scope is None else not scope.silent) and enabled()


def passes(scheme: str, host: str, path: str) -> bool:
    """Whether a POST is sent as if nothing were here: it goes where nobody is paid, or a layer above meters it already.

    Asked before anything of it is read, as most of what a program posts is nobody's business here.

    Args:
        scheme: of its URL.
        host: with the port, if the URL has one.
        path: with or without a query.
    """
    return is_elsewhere(scheme, host, path) or not watching()


def is_elsewhere(scheme: str, host: str, path: str, key: object = None) -> bool:
    """Whether a POST goes where nobody is paid.

    Args:
        scheme: of its URL.
        host: with the port, if the URL has one.
        path: with or without a query.
        key: what its client knows the URL by before it is taken apart: the next one is known by it (:data:`elsewhere`).
    """
    host, _, place = _place(scheme, host, path)
    if place is not None or (host in named and _is_own(host)):
        return False
    if key is not None and not named:
        if len(elsewhere) >= MOST_ELSEWHERE:
            elsewhere.clear()
        elsewhere.add(key)
    return True


def recognised(
    scheme: str, host: str, path: str, content: Callable[[], object], headers: Mapping[str, str]
) -> tuple[HTTPRequest, Format, Request] | None:
    """A POST as a call to meter; None if it is not paid for, or is sent without being metered.

    Args:
        scheme: of its URL.
        host: with the port, if the URL has one.
        path: with or without a query.
        content: gives the body: bytes or text, or None if there is none; anything else, such as a generator, cannot
            be read.
        headers: of the request, by names in any case.

    Raises:
        UnpricedModelError: it is paid for and cannot be read, inside a block that does not let that pass.
    """
    host, path, place = _place(scheme, host, path)
    if host in named and _is_own(host):
        place = endpoint(host, path, own=True)
    if place is None:
        return None
    if not place.formats:
        refuse_unread(host, f"POST {path} at a host that serves models")
        return None
    return asked(place, host, f"{scheme}://{host}{path}", path, content(), headers)


def asked(
    place: Endpoint, host: str, url: str, path: str, content: object, headers: Mapping[str, str]
) -> tuple[HTTPRequest, Format, Request] | None:
    """What is asked of an API that is known, as a call to meter; None if it is not paid for, or is not metered.

    Args:
        place: which API it is.
        host: where it is sent, for what is told of it.
        url: the same, with the path.
        path: without a query.
        content: the body, as :func:`recognised` is given it.
        headers: of the request, by names in any case.

    Raises:
        UnpricedModelError: it is paid for and cannot be read, inside a block that does not let that pass.
    """
    body = _body(content, headers)
    if body is None:
        # What nobody knows is somebody's own service, which may take anything.
        if place.provider or place.known:
            refuse_unread(host, f"the body of POST {path}")
        return None
    http = HTTPRequest(plain(path), body, place.provider, url)
    for read_by in place.formats:
        request = read_by.read(http)
        if request is not None and (request.unseen or request.model):
            if read_by.told_by:
                told = {name: value for name in read_by.told_by if (value := header(headers, name)) is not None}
                read_by.told(request, told)
            return http, read_by, request
    if place.known:
        refuse_unread(host, f"what is asked by POST {path}")
    return None


def posted(
    kind: type[Posted],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    found: tuple[HTTPRequest, Format, Request] | None,
    headers: Mapping[str, str],
) -> Posted | None:
    """A request that was recognised, as its client was asked for it.

    Args:
        kind: the client's own.
        args: what its method was called with.
        kwargs: and by name.
        found: as it was recognised.
        headers: of the request.
    """
    if found is None:
        return None
    http, read_by, request = found
    sent = kind(request, args, kwargs)
    sent.http, sent.read_by = http, read_by
    sent.signed = (header(headers, "authorization") or "").startswith(_SIGNED)
    if sent.signed:
        request.cappable = False
    return sent


def header(headers: Mapping[str, str], name: str) -> str | None:
    """A header, by its name in lower case; None if there is none.

    Args:
        headers: by names in any case: a plain mapping as well.
        name: in lower case.
    """
    for key, value in headers.items():
        key, value = _text(key), _text(value)  # noqa: PLW2901
        if key.lower() == name:
            return value
    return None


def without_length(headers: Any) -> Any:
    """Headers without the length of the body that was given, for clients that state that of the one that they send.

    Args:
        headers: by their names, or pairs of name and value, or lines.
    """
    pairs = list(headers.items() if hasattr(headers, "items") else headers)
    kept = [one for one in pairs if _name_of(one) != "content-length"]
    return headers if len(kept) == len(pairs) else kept


def _name_of(header: Any) -> str:
    name = header[0] if isinstance(header, tuple | list) else _text(header).partition(":")[0]
    return _text(name).strip().lower()


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _body(content: object, headers: Mapping[str, str]) -> Body | None:
    if header(headers, "content-encoding") not in (None, "identity"):
        return None
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    if content is None or content == b"":
        return {}
    if not isinstance(content, (bytes, bytearray, memoryview)):
        return None
    return decoded(bytes(content), header(headers, "content-type") or "")


# Remembered, as every POST asks for it.
@functools.lru_cache(maxsize=4096)
# Remembered, as every POST asks for it.
@functools.lru_cache(maxsize=4096)
def _place(scheme: str, host: str, path: str) -> tuple[str, str, Endpoint | None]:
    """A host and a path in the form by which they are known, and what is known of them."""
    host = host.lower().removesuffix(_USUAL_PORTS.get(scheme, "")).removesuffix(".")
    path = path.partition("?")[0].rstrip("/")
    return host, path, endpoint(host, path)


def _is_own(host: str) -> bool:
    """Whether a payer of the running code, or the code itself, has said that a host serves models."""
    scope = current() or (scopes.outside[0] if scopes.outside else None)
    if scope is not None:
        if scope.paid_hosts is not None and host in scope.paid_hosts:
            return True
        for group in scope.groups:
            if host in group.payer.unmetered_hosts:
                return True
    return False


def refuse_unread(host: str, what: str) -> None:
    """Refuse what is paid for and cannot be read; outside every block, or where that is let pass, count it.

    Args:
        host: where it would be sent.
        what: how a sentence about it begins, such as ``"the body of POST /v1/messages"``.

    Raises:
        UnpricedModelError: the running code is inside a block, or a test run, that does not let such requests pass.
    """
    scope = current()
    around = scope or (scopes.outside[0] if scopes.outside else None)
    if around is None or held_by_hand(around):
        return
    policies = {group.payer.unmetered for group in scopes.paying(around.groups)}
    inside = scopes.paying(() if scope is None else scope.groups)
    if any(group.payer.unmetered == "deny" for group in inside):
        error = UnpricedModelError(
            f"{what} is paid for, and no budget can bound it: it is not known, or cannot be read; nothing was sent. "
            f"Hold what it may cost by hand: `with budgeted.hold(cost=USD) as held: ...; held.settle(cost=USD)`, or "
            f'let such requests pass with unmetered="warn" (host {host})'
        )
        swallowed_refusals.note(around.blocks, error)
        run_notes.note(run_notes.REFUSED)
        raise error
    if counters.unmetered(host) and policies != {"allow"}:
        text = "budgeted: %s (host %s) is paid for, it seems, and nothing is charged for it (said once per host)"
        say(logging.WARNING, text, (what, host), {})
