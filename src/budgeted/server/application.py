"""The ASGI application: who may ask, what is asked, and what went wrong, around the endpoints."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from budgeted.errors import (
    BudgetError,
    BudgetExceededError,
    LedgerCorruptError,
    LedgerError,
    LedgerUnavailableError,
    UnknownUserError,
)
from budgeted.ledger.accounts import UNITS, account_kind, account_name
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Stale
from budgeted.ledger.http import json_verbs
from budgeted.ledger.http.connections import AGAIN, ONCE
from budgeted.ledger.http.server_address import is_loopback
from budgeted.limits.limit import Limit
from budgeted.manager.settings import warn_of_unknown
from budgeted.server import openapi
from budgeted.server.endpoints import ENDPOINTS, Endpoint
from budgeted.server.open_ledgers import Projects
from budgeted.server.settings import ServerSettings

logger = logging.getLogger("budgeted")

_encode = msgspec.json.Encoder().encode

READY_SECONDS = 5.0
"""How long the ledger may take to answer, to be called reachable."""


def create_app(settings: ServerSettings | None = None) -> Starlette:
    """A server of ledgers and budgets, as an ASGI application.

    Args:
        settings: None for those that the ``BUDGETED_*`` variables make.

    Returns:
        The application. It opens each project's ledger when it is first asked for, and closes all at its shutdown.

    Raises:
        ValueError: a variable makes no sense.

    Example:
        >>> app = create_app(ServerSettings(ledger="./spend", tokens=("3f1c...",)))
    """
    if settings is None:
        warn_of_unknown(os.environ)
        settings = ServerSettings.from_environment()
    return _Server(settings).app


class Refusal(Exception):  # noqa: N818 - it is an answer
    """An answer with a status from 400 on."""

    def __init__(self, status: int, kind: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.headers = status, kind, headers


class _Server:
    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._projects = Projects(settings)
        self._threads = anyio.CapacityLimiter(settings.threads)
        self._document = b""
        self.app = Starlette(
            routes=[
                *(self._route(path) for path in dict.fromkeys(endpoint.path for endpoint in ENDPOINTS)),
                Route("/health", self._ready, methods=["GET"]),
                Route("/health/live", _live, methods=["GET"]),
                Route("/health/ready", self._ready, methods=["GET"]),
                Route("/openapi.json", self._openapi, methods=["GET"]),
            ],
            exception_handlers={HTTPException: _not_there, Exception: _failed},
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:  # noqa: ARG002 - as Starlette has it
        yield
        await anyio.to_thread.run_sync(self._projects.close)

    def _route(self, path: str) -> Route:
        by_method = {endpoint.method: endpoint for endpoint in ENDPOINTS if endpoint.path == path}
        readers = {method: _reader(endpoint) for method, endpoint in by_method.items()}

        async def answer(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            return await self._answer(request, by_method[method], readers[method])

        return Route(path, answer, methods=list(by_method))

    async def _answer(self, request: Request, endpoint: Endpoint, read: Callable[[Any], Any]) -> Response:
        try:
            self._admit(request, endpoint)
            asked = read(await self._body(request) if endpoint.has_body else dict(request.query_params))
            project = endpoint.project(asked) if endpoint.project else request.query_params.get("project", "default")
            run = functools.partial(self._run, endpoint, project, asked, request.headers)
            return await anyio.to_thread.run_sync(run, limiter=self._threads)
        except (Refusal, BudgetError, ValueError, TypeError, OverflowError) as error:
            return _problem(error)

    def _admit(self, request: Request, endpoint: Endpoint) -> None:
        """Whether who asks may do so."""
        settings = self._settings
        if settings.open:
            self._admit_without_token(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        may = settings.may(token.strip() if scheme.lower() == "bearer" else None)
        if not may:
            what = "send `Authorization: Bearer TOKEN`" if not token else "the token is not one of this server's"
            raise Refusal(401, "Unauthorized", what, **{"www-authenticate": "Bearer"})
        if endpoint.changes and may != "write":
            raise Refusal(403, "Forbidden", "this token may only read")

    def _admit_without_token(self, request: Request) -> None:
        """Only for this machine: a server's own address and the name that it was called by are the loopback's.

        The latter keeps out pages of strangers in a browser here, whose name leads here.
        """
        host = request.url.hostname or ""
        server = request.scope.get("server")
        if not is_loopback(host) or (server and server[1] is not None and not is_loopback(server[0])):
            text = "a server without tokens serves its own machine alone; set BUDGETED_TOKEN"
            raise Refusal(403, "Forbidden", text)

    async def _body(self, request: Request) -> bytes:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "UnsupportedMediaType", "the body must be JSON: send Content-Type: application/json")
        most = self._settings.max_body
        data = bytearray()
        told = request.headers.get("content-length", "")
        if not told.isdigit() or int(told) <= most:
            async for piece in request.stream():
                data += piece
                if len(data) > most:
                    break
            else:
                return bytes(data)
        text = f"a body may have {most} bytes; BUDGETED_MAX_BODY allows more"
        raise Refusal(413, "BodyTooLarge", text, connection="close")

    def _run(self, endpoint: Endpoint, name: str, asked: Any, headers: Headers) -> Response:
        """Do what is asked, in a thread."""

        def run() -> Any:
            projects = self._projects
            return endpoint.run(projects.open(name) if endpoint.makes_project else projects.look(name), asked)

        key = None if endpoint.repeatable else headers.get(ONCE)
        if key is None:
            found = run()
        else:
            again = headers.get(AGAIN, "").lower() == "true"
            found = self._projects.once((endpoint.path, name, key), run, again=again)
        if isinstance(found, Refused):
            return _json(402, json_verbs.ProblemBody(json_verbs.Problem("BudgetExceededError", _text(found), found)))
        if isinstance(found, Stale):
            raise Refusal(409, "Stale", "the route was computed from older limits or periods; compute it again")
        return _json(200, found)

    async def _ready(self, request: Request) -> Response:  # noqa: ARG002 - as Starlette has it
        """Whether the ledger can be reached."""
        with anyio.move_on_after(READY_SECONDS):
            try:
                await anyio.to_thread.run_sync(self._projects.check, abandon_on_cancel=True)
            except LedgerError as error:
                return _json(503, {"status": "unavailable", "ledger": str(error)})
            return _json(200, {"status": "ok", "ledger": "reachable"})
        return _json(503, {"status": "unavailable", "ledger": f"no answer within {READY_SECONDS:g} seconds"})

    async def _openapi(self, request: Request) -> Response:  # noqa: ARG002 - as Starlette has it
        self._document = self._document or _encode(openapi.document())
        return Response(self._document, media_type="application/json")


async def _live(request: Request) -> Response:  # noqa: ARG001 - as Starlette has it
    return _json(200, {"status": "ok"})


def _reader(endpoint: Endpoint) -> Callable[[Any], Any]:
    """How what is asked is read and checked."""
    if endpoint.has_body:
        return msgspec.json.Decoder(endpoint.asks).decode

    def read(query: dict[str, str]) -> Any:
        query.pop("project", None)
        if unknown := query.keys() - set(endpoint.asks.__struct_fields__):
            raise Refusal(422, "ValidationError", f"there is no query parameter {min(unknown)!r}")
        return msgspec.convert(query, endpoint.asks, strict=False)

    return read


def _json(status: int, body: Any, **headers: str) -> Response:
    return Response(_encode(body), status, headers, "application/json")


_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (UnknownUserError, 404),
    (LedgerUnavailableError, 503),
    (LedgerCorruptError, 500),
    (BudgetError, 409),
    (msgspec.ValidationError, 422),
    (msgspec.DecodeError, 400),
)


def _problem(error: Exception) -> Response:
    """The answer to a request that went wrong, for its sender to see why."""
    if isinstance(error, Refusal):
        return _json(error.status, json_verbs.ProblemBody(json_verbs.Problem(error.kind, str(error))), **error.headers)
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 422)
    headers = {"retry-after": "1"} if status == 503 else {}
    return _json(status, json_verbs.ProblemBody(json_verbs.Problem(type(error).__name__, str(error))), **headers)


def _text(refused: Refused) -> str:
    """A refusal as people read it."""
    try:
        limit = str(Limit.from_id(refused.limit, refused.amount))
    except ValueError:  # a client may call its limits as it likes
        limit = f"{refused.limit} ({refused.amount})"
    fields = {name: getattr(refused, name) for name in ("amount", "spent", "held", "requested", "reason")}
    kind, name = account_kind(refused.account), account_name(refused.account)
    return str(BudgetExceededError(account=name, account_kind=kind, limit=limit, unit=UNITS[refused.unit], **fields))


def _not_there(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    text = f"{request.method} {request.url.path}: {error.detail}; see /openapi.json"
    kind = str(error.detail).replace(" ", "")
    return _json(error.status_code, json_verbs.ProblemBody(json_verbs.Problem(kind, text)), **dict(error.headers or {}))


def _failed(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as Starlette has it
    """Something unforeseen, which Starlette logs."""
    return _json(
        500, json_verbs.ProblemBody(json_verbs.Problem(type(error).__name__, "the server failed; its log says why"))
    )
