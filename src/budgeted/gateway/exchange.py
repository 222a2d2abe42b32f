"""One request to the gateway, and its answer."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import msgspec
from starlette.types import Receive, Scope, Send

from budgeted.errors import BudgetError
from budgeted.gateway import bodies, figures, free_paths, own_answers, refusals, request_checks, upstream_requests
from budgeted.gateway.bodies import Departure, Gone, TooLong
from budgeted.gateway.callers import Caller, CallerError
from budgeted.gateway.credentials import Shown
from budgeted.gateway.forwarding import Forwarded, Incoming, metered
from budgeted.gateway.key_in_address import refuse_key_in_address
from budgeted.gateway.outgoing_request import Outgoing
from budgeted.gateway.refusals import Answer, Refusal
from budgeted.gateway.request_records import RequestRecord
from budgeted.gateway.shared_parts import Gateway, Route
from budgeted.gateway.upstreams import NoRouteError, asker
from budgeted.payers.block import Budget
from budgeted.payers.scope import current, enter, leave
from budgeted.providers.http_clients.recognition import asked, refuse_unread
from budgeted.providers.metered_method import meterable
from budgeted.validation import shown as quoted
from budgeted.wire.api_endpoints import Endpoint
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import Format, HTTPRequest

logger = logging.getLogger("budgeted")

MOST_AT_ONCE: Final = 2**20
"""Bytes of a body that are read beside nothing else: of more, in a thread, as other requests go on meanwhile."""

_PACKED: Final = re.compile(rb"\b(?:gzip|deflate)\b")

_WITHOUT_BODY: Final = ("GET", "HEAD", "DELETE")

_OF_BODY: Final = ("content-type", "content-encoding")
"""By which a body is read."""


class Exchange:
    """One request and its answer.

    Args:
        gateway: what requests share.
        scope: ASGI's, of the request.
        receive: gives its body.
        send: takes the answer.

    Attributes:
        record: what becomes of it.
    """

    def __init__(self, gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
        self._gateway, self._scope = gateway, scope
        self._receive, self._send = receive, send
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._method: str = scope["method"]
        self._path: str = scope["raw_path"].decode("latin-1")
        self._own: frozenset[str] | None = frozenset()
        self.record = RequestRecord(self._method, self._path, scope.get("scheme", "http"))
        self._begun = False
        self._provider = ""  # whose clients read its answer, once that is known

    async def serve(self) -> None:
        """Answer it."""
        try:
            await self._serve()
        except Gone:  # nobody is there to read anything
            pass
        except TooLong:
            most = self._gateway.settings.max_body
            await self._refuse(Refusal(413, f"a request may have {most} bytes here; max_body allows more"))
        except (CallerError, NoRouteError) as error:
            await self._refuse(Refusal(error.status, str(error)))
        except BudgetError as error:
            await self._refuse(refusals.refusal_of(error, own=self._own))
        except (aiohttp.ClientError, OSError) as error:  # of which a timeout is one
            await self._refuse(upstream_requests.refusal_of(error))
        except Exception:
            logger.exception("budgeted: a mistake in the gateway; what may have been sent is charged")
            await self._refuse(Refusal(500, "this gateway has made a mistake; its log says which", final=False))

    async def _serve(self) -> None:
        gateway, method = self._gateway, self._method
        if (problem := request_checks.problem(self._scope, self._headers)) is not None:
            await self._refuse(problem)
            return
        if gateway.settings.open and (problem := request_checks.stranger(self._scope)) is not None:
            await self._refuse(problem)
            return
        refuse_key_in_address(self._path, self._scope["query_string"])
        if self._path in own_answers.PATHS and method in ("GET", "HEAD"):
            await self._answer(await own_answers.make(gateway, self._path, self._scope["headers"]))
            return
        caller = await gateway.callers.caller(self._scope["headers"])
        if gateway.settings.models:
            caller = msgspec.structs.replace(caller, served=gateway.settings.models)
        self._own = caller.accounts if caller.key else None
        self.record.user = caller.user
        asking = asker(self._headers, self._scope["query_string"])
        route = gateway.route(self._path, asking, has_body=method not in _WITHOUT_BODY)
        self._provider = route.upstream.provider
        self.record.upstream = route.upstream.name
        if route.place is not None:
            await self._pass_back(await self._paid(route, route.place, caller))
            return
        await self._pass_back(Incoming(await self._free(route, caller), None))

    async def _free(self, route: Route, caller: Caller) -> aiohttp.ClientResponse:
        """The answer to what costs nothing."""
        method, upstream, settings = self._method, route.upstream, self._gateway.settings
        if free_paths.is_paid_elsewise(method, route.target):
            raise CallerError(405, f"{self._path} is asked by POST; a {method} of it, if it is answered, may be billed")
        shown = await self._gateway.show(upstream, self._scope["headers"], caller.shown, route.target)
        owned = shown.owned and settings.free == "few"
        if owned and not free_paths.is_for_all(method, route.target, upstream.provider):
            text = f"{method} {self._path} is of what this gateway's owner keeps at {upstream.name}"
            raise CallerError(403, f'{text}; [gateway] free = "all" lets it pass')
        body: bytes | AsyncIterator[bytes] | None = None
        if method not in ("GET", "HEAD"):  # what is signed, is so as a whole
            body = bodies.pieces(self._receive) if shown.sign is None else await self._whole()
        return await self._gateway.connections.ask(self._out(route, shown, body))

    async def _whole(self) -> bytes:
        return await bodies.whole(self._receive, self._gateway.settings.max_body)

    def _out(self, route: Route, shown: Shown, body: bytes | AsyncIterator[bytes] | None) -> Outgoing:
        """The request as it goes to an upstream."""
        packed = _PACKED.search(self._headers.get(b"accept-encoding", b""))  # alone of all, it can be read in passing
        shown.headers.append(("accept-encoding", "gzip, deflate" if packed else "identity"))
        headers = shown.headers if self._gateway.traces is None else self._gateway.traces.passed_on(shown.headers)
        query = self._scope["query_string"].decode("latin-1")
        query = f"?{query}" if query else ""
        return Outgoing(self._method, route.origin, route.target, query, headers, body, shown.sign)

    async def _paid(self, route: Route, place: Endpoint, caller: Caller) -> Incoming:
        """The answer to a request that is paid for, or may be."""
        content = await self._whole()
        shown = await self._gateway.show(route.upstream, self._scope["headers"], caller.shown, route.target)
        out = self._out(route, shown, content)
        connections = self._gateway.connections
        block = Budget(self._gateway.manager.payer, caller.user, tags=caller.tags)
        tells = figures.wanted(self._gateway, self._headers)
        scope = block.scope(current())
        enter(scope)
        try:
            if len(content) > MOST_AT_ONCE:
                sent = await asyncio.to_thread(self._read, route, place, content)
            else:
                sent = self._read(route, place, content)
            if sent is None:
                caller.check_model("")  # nobody knows which one it is for
                return Incoming(await connections.ask(out), None)
            for model in (sent.request.model, *sent.request.others, *sent.deployments):
                caller.check_model(model)
            self.record.sent = sent
            sent.args, sent.caller = (out,), caller
            incoming = await metered(connections, sent, self._receive, read=tells)
        finally:
            leave(scope)
        if 300 <= incoming.response.status < 400:
            raise _led_elsewhere(incoming)
        if tells:
            incoming.told = await figures.figures(self._gateway, block, ended=incoming.body is not None)
        return incoming

    def _read(self, route: Route, place: Endpoint, content: bytes) -> Forwarded | None:
        """The request as a call to meter; None if it is sent on without.

        Raises:
            UnpricedModelError: it is paid for, and cannot be read.
        """
        path, host = route.target.rstrip("/") or "/", route.upstream.host
        if not place.formats:
            refuse_unread(host, f"{self._method} {path}")
            return None
        names = (*_OF_BODY, *(name for read_by in place.formats for name in read_by.told_by))
        headers = {
            name: self._headers[name.encode()].decode("latin-1") for name in names if name.encode() in self._headers
        }
        found = asked(place, host, route.origin + path, path, content, headers)
        return None if found is None else meterable(_forwarded(*found, headers.get("content-type", "")))

    async def _pass_back(self, incoming: Incoming) -> None:
        """Send an answer on, as it comes."""
        response = incoming.response
        try:
            self._begun = True
            self.record.answered(response.status, streams=incoming.body is None)
            await self._send({"type": "http.response.start", "status": response.status, "headers": incoming.headers()})
            if incoming.body is not None:
                await self._send({"type": "http.response.body", "body": incoming.body, "more_body": False})
                return
            departure = Departure(self._receive, incoming.pieces.leave)
            try:
                async for piece in incoming.stream:
                    await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            except GeneratorExit:  # whoever asked has gone
                return
            finally:
                departure.over()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if incoming.watch is not None:  # whose call has ended, unless something went wrong before its end
                incoming.watch.end_early()
            if incoming.watch is None or not incoming.watch.draining:  # else it is closed when the rest has been read
                response.close() if incoming.body is None else response.release()

    async def _refuse(self, refusal: Refusal) -> None:
        """Answer with an error; of an answer that has begun, nothing more is sent, which its reader notices."""
        if not self._begun:
            await self._answer(refusals.answer(refusal, refusals.dialect_of(self._path, self._provider)))

    async def _answer(self, found: Answer) -> None:
        """Answer in the upstream's place."""
        self._begun = True
        self.record.answered(found.status, streams=False)
        await refusals.send_answer(self._send, found, head=self._method == "HEAD")


def _led_elsewhere(incoming: Incoming) -> NoRouteError:
    """The refusal of an upstream's redirect: a client would send its request there itself, past the gateway."""
    place = incoming.response.headers.get("location", "")
    incoming.response.close()
    text = "the upstream has not answered, but leads to where this gateway would not see what it costs"
    return NoRouteError(502, f"{text}: {quoted(place)}; name the address that it has come to")


def _forwarded(http: HTTPRequest, read_by: Format, request: Request, content_type: str) -> Forwarded:
    sent = Forwarded(request, (), {})
    sent.http, sent.read_by, sent.signed, sent.content_type = http, read_by, False, content_type
    return sent
