"""Requests to the endpoints: who may ask, and how a request is read, done and answered.

Most requests are a call's hold and its settlement: what stands between the connection and the ledger is on their way.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from budgeted.errors import BudgetError
from budgeted.http_server.same_machine import why_not_from_here
from budgeted.idempotent_requests import AnswersByKey
from budgeted.ledger.http import batches, verbs_as_json
from budgeted.ledger.http.connections import AGAIN, ONCE
from budgeted.server.endpoint import Endpoint
from budgeted.server.error_responses import Refusal, json_response, problem_of_answer, problem_response
from budgeted.server.ledger_per_project import Projects
from budgeted.server.settings import ServerSettings

LONGEST_KEY = 256
"""Characters that the key of a request may have, as thousands of them are remembered."""

Headers: TypeAlias = dict[bytes, bytes]

Answer: TypeAlias = Response | bytes
"""JSON with the status 200, or another response."""

_encode = msgspec.json.Encoder().encode
_AGAIN, _ONCE = AGAIN.encode(), ONCE.encode()


class EndpointRequests:
    """Does what endpoints are asked, for whoever may ask.

    Args:
        settings: the server's.
        projects: what is asked.
    """

    def __init__(self, settings: ServerSettings, projects: Projects) -> None:
        self._settings, self._projects = settings, projects
        self._answers = AnswersByKey()
        self._threads = anyio.CapacityLimiter(settings.threads)

    async def answer(
        self, endpoint: Endpoint, reader: RequestReader, scope: Scope, receive: Receive
    ) -> Response | bytes:
        """What a request is answered.

        Args:
            endpoint: that is asked.
            reader: of its requests.
            scope: of the request, as ASGI has it.
            receive: brings its body.
        """
        headers: Headers = dict(scope["headers"])
        query = _query(scope["query_string"])
        try:
            self._admit(endpoint, scope, headers)
            if endpoint.has_body:
                body = await self._body(headers, receive)
                if body is None:  # who asked has gone in the middle of it; nobody is there to read this
                    return Response(status_code=400)
                asked = reader.body(body)
            else:
                asked = reader.query(query)
            name = endpoint.project(asked) if endpoint.project else query.get("project", "default")
            if endpoint.brief and self._projects.at_hand(name):
                return self._do(endpoint, name, asked, headers)
            if isinstance(asked, batches.BatchBody) and self._projects.waits(name):
                return await self._side_by_side(endpoint, name, asked)
            run = functools.partial(self._do, endpoint, name, asked, headers)
            return await anyio.to_thread.run_sync(run, limiter=self._threads)
        except (Refusal, BudgetError, ValueError, TypeError, OverflowError, RecursionError) as error:
            return problem_response(error)

    def _admit(self, endpoint: Endpoint, scope: Scope, headers: Headers) -> None:
        """Whether who asks may do so."""
        settings = self._settings
        if settings.open:
            why = why_not_from_here(scope.get("server"), scope["headers"])
            if why is not None:  # it is only for this machine
                text = f"a server without tokens serves its own machine alone, and {why}; set BUDGETED_TOKEN"
                raise Refusal(403, "Forbidden", text)
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        may = settings.may(token.strip() if scheme.lower() == "bearer" else None)
        if not may:
            what = "send `Authorization: Bearer TOKEN`" if not token else "the token is not one of this server's"
            raise Refusal(401, "Unauthorized", what, **{"www-authenticate": "Bearer"})
        if endpoint.changes and may != "write":
            raise Refusal(403, "Forbidden", "this token may only read")

    async def _body(self, headers: Headers, receive: Receive) -> bytes | None:
        """The body of a request; None if who asks leaves before it is whole."""
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            raise Refusal(415, "UnsupportedMediaType", "the body must be JSON: send Content-Type: application/json")
        most = self._settings.max_body
        told = headers.get(b"content-length", b"")
        size, more, pieces = int(told) if told.isdigit() else 0, True, []
        if size <= most:
            size = 0
            while more and size <= most:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                more = message.get("more_body", False)
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
        if size <= most:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        text = f"a body may have {most} bytes; BUDGETED_MAX_BODY allows more"
        raise Refusal(413, "BodyTooLarge", text, connection="close")

    async def _side_by_side(self, endpoint: Endpoint, name: str, asked: batches.BatchBody) -> Answer:
        """Do what a batch asks, each verb in a thread, as each one waits."""

        def do(one: batches.BatchBody) -> Sequence[object]:
            done = endpoint.does(self._projects, name, one)
            assert isinstance(done, list)  # noqa: S101 - a batch is answered so
            return done

        limiter = self._threads
        done = await asyncio.gather(*(anyio.to_thread.run_sync(do, one, limiter=limiter) for one in asked.apart()))
        return _encode(list(itertools.chain.from_iterable(done)))

    def _do(self, endpoint: Endpoint, name: str, asked: object, headers: Headers) -> Answer:
        """Do what is asked. It may take its time, unless the endpoint is brief and its ledger at hand."""

        def run() -> object:
            return endpoint.does(self._projects, name, asked)

        key = None if endpoint.repeatable else headers.get(_ONCE)
        if key is not None and len(key) > LONGEST_KEY:
            raise Refusal(422, "ValidationError", f"{ONCE} may have {LONGEST_KEY} characters: a UUID will do")
        if key is None:
            found = run()
        else:
            again = headers.get(_AGAIN, b"").lower() == b"true"
            found = self._answers.once((endpoint.path, name, key.decode("latin-1")), run, again=again)
        refused = problem_of_answer(found)
        if refused is not None:
            status, problem = refused
            return json_response(status, verbs_as_json.ProblemBody(problem))
        return _encode(found)


class RequestReader:
    """How what is asked of an endpoint is read and checked: the body of a request, or its query.

    Args:
        endpoint: it.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._asks = endpoint.asks
        self._decoder: msgspec.json.Decoder[object] = msgspec.json.Decoder(endpoint.asks)

    def body(self, data: bytes) -> object:
        """What a body says.

        Raises:
            msgspec.DecodeError: nothing that the endpoint is asked.
        """
        try:
            return self._decoder.decode(data)
        except msgspec.ValidationError:
            # What is no JSON at all, or has no end to its depth, is told as that, wherever its meaning went wrong.
            msgspec.json.decode(data, type=msgspec.Raw)
            raise

    def query(self, query: Mapping[str, str]) -> object:
        """What a query says.

        Raises:
            Refusal, msgspec.ValidationError: nothing that the endpoint is asked.
        """
        given = {name: value for name, value in query.items() if name != "project"}
        if unknown := given.keys() - set(self._asks.__struct_fields__):
            raise Refusal(422, "ValidationError", f"there is no query parameter {min(unknown)!r}")
        return msgspec.convert(given, self._asks, strict=False)


class PathRequests:
    """Answers the requests of one path. An ASGI application.

    Args:
        endpoints: of this path.
        requests: does what they are asked.
    """

    def __init__(self, endpoints: Iterable[Endpoint], requests: EndpointRequests) -> None:
        self._requests = requests
        self._by_method = {one.method: (one, RequestReader(one)) for one in endpoints}
        if "GET" in self._by_method:
            self._by_method["HEAD"] = self._by_method["GET"]
        self.methods = list(self._by_method)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by one of its methods."""
        endpoint, reader = self._by_method[scope["method"]]
        answer = await self._requests.answer(endpoint, reader, scope, receive)
        if isinstance(answer, Response):
            await answer(scope, receive, send)
            return
        headers = [(b"content-length", b"%d" % len(answer)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


class StraightToPaths:
    """Around an application: has requests to some of its paths answered without looking through all of its routes.

    Args:
        app: the application, whose routes lead to the same ones.
        paths: what answers the requests of each path.
    """

    def __init__(self, app: ASGIApp, paths: Mapping[str, PathRequests]) -> None:
        self._app = app
        self._answering = {(method, path): one for path, one in paths.items() for method in one.methods}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have it answered."""
        # Within another application, the path begins with where that has it.
        found = None if scope["type"] != "http" or scope.get("root_path") else (scope["method"], scope["path"])
        await (self._answering.get(found, self._app) if found else self._app)(scope, receive, send)


@functools.lru_cache(1024)
def _query(text: bytes) -> Mapping[str, str]:
    """What a query says; of two values of a name, the last."""
    return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True))
