"""The ASGI application around the endpoints: who may ask, and how a request is read and answered."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from collections.abc import AsyncIterator, Callable

import anyio
import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from budgeted.errors import BudgetError, LedgerError
from budgeted.http_server.request_headers import CheckedHeaders
from budgeted.http_server.same_machine import why_not_from_here
from budgeted.idempotent_requests import AnswersByKey
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Stale
from budgeted.ledger.http import verbs_as_json
from budgeted.ledger.http.connections import AGAIN, ONCE
from budgeted.manager.environment import warn_of_unknown
from budgeted.server import health, openapi_document
from budgeted.server.endpoint import Endpoint
from budgeted.server.endpoints import ENDPOINTS
from budgeted.server.error_responses import (
    Refusal,
    json_response,
    not_found,
    problem_response,
    refusal_text,
    server_failed,
)
from budgeted.server.health import LIVE, Health
from budgeted.server.ledger_per_project import Projects
from budgeted.server.settings import ServerSettings

logger = logging.getLogger("budgeted")

LONGEST_KEY = 256
"""Characters that the key of a request may have, as thousands of them are remembered."""

READY_SECONDS = 5.0
"""How long the ledger may take to answer, to be called reachable."""


def create_app(settings: ServerSettings | None = None, *, clock: Callable[[], float] | None = None) -> Starlette:
    """A server of ledgers and budgets, as an ASGI application.

    Args:
        settings: None for those that the ``BUDGETED_*`` variables make.
        clock: returns unix seconds, like ``time.time``; for tests.

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
    return _Server(settings, clock).app


class _Server:
    def __init__(self, settings: ServerSettings, clock: Callable[[], float] | None) -> None:
        self._settings = settings
        self._projects = Projects(settings, clock)
        self._answers = AnswersByKey()
        self._threads = anyio.CapacityLimiter(settings.threads)
        self._document = b""
        self.app = Starlette(
            routes=[
                *(self._route(path) for path in dict.fromkeys(endpoint.path for endpoint in ENDPOINTS)),
                *(Route(path, _live if path == LIVE else self._ready, methods=["GET"]) for path in health.PATHS),
                Route("/openapi.json", self._openapi, methods=["GET"]),
                *_page(settings, self._projects, clock or time.time),
            ],
            middleware=[Middleware(CheckedHeaders)],
            exception_handlers={HTTPException: not_found, Exception: server_failed},
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:  # noqa: ARG002 - as Starlette has it
        yield
        await anyio.to_thread.run_sync(self._projects.close)

    def _route(self, path: str) -> Route:
        by_method = {endpoint.method: endpoint for endpoint in ENDPOINTS if endpoint.path == path}
        readers = {method: _Reader(endpoint) for method, endpoint in by_method.items()}

        async def answer(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            return await self._answer(request, by_method[method], readers[method])

        return Route(path, answer, methods=list(by_method))

    async def _answer(self, request: Request, endpoint: Endpoint, reader: _Reader) -> Response:
        try:
            self._admit(request, endpoint)
            if endpoint.has_body:
                asked = reader.body(await self._body(request))
            else:
                asked = reader.query(dict(request.query_params))
            project = endpoint.project(asked) if endpoint.project else request.query_params.get("project", "default")
            run = functools.partial(self._run, endpoint, project, asked, request.headers)
            return await anyio.to_thread.run_sync(run, limiter=self._threads)
        except (Refusal, BudgetError, ValueError, TypeError, OverflowError, RecursionError) as error:
            return problem_response(error)
        except ClientDisconnect:  # in the middle of its body; nobody is there to read this
            return Response(status_code=400)

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
        """Only for this machine."""
        why = why_not_from_here(request.scope.get("server"), request.scope["headers"])
        if why is not None:
            text = f"a server without tokens serves its own machine alone, and {why}; set BUDGETED_TOKEN"
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

    def _run(self, endpoint: Endpoint, name: str, asked: object, headers: Headers) -> Response:
        """Do what is asked, in a thread."""

        def run() -> object:
            return endpoint.does(self._projects, name, asked)

        key = None if endpoint.repeatable else headers.get(ONCE)
        if key is not None and len(key) > LONGEST_KEY:
            raise Refusal(422, "ValidationError", f"{ONCE} may have {LONGEST_KEY} characters: a UUID will do")
        if key is None:
            found = run()
        else:
            again = headers.get(AGAIN, "").lower() == "true"
            found = self._answers.once((endpoint.path, name, key), run, again=again)
        if isinstance(found, Refused):
            problem = verbs_as_json.Problem("BudgetExceededError", refusal_text(found), found)
            return json_response(402, verbs_as_json.ProblemBody(problem))
        if isinstance(found, Stale):
            raise Refusal(409, "Stale", "the route was computed from older limits or periods; compute it again")
        return json_response(200, found)

    async def _ready(self, request: Request) -> Response:  # noqa: ARG002 - as Starlette has it
        """Whether the ledger can be reached."""
        with anyio.move_on_after(READY_SECONDS):
            try:
                # Without the limiter of requests: it answers also while all their threads wait for the ledger.
                await anyio.to_thread.run_sync(self._projects.check, abandon_on_cancel=True)
            except LedgerError as error:
                return json_response(503, Health("unavailable", str(error)))
            return json_response(200, Health("ok", "reachable"))
        return json_response(503, Health("unavailable", f"no answer within {READY_SECONDS:g} seconds"))

    async def _openapi(self, request: Request) -> Response:  # noqa: ARG002 - as Starlette has it
        self._document = self._document or msgspec.json.encode(openapi_document.document())
        return Response(self._document, media_type="application/json")


def _page(settings: ServerSettings, projects: Projects, clock: Callable[[], float]) -> list[Route]:
    """The page for people; where the package of its templates is missing, what to install."""
    try:
        from budgeted.page.application import page_routes
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("jinja2", "markupsafe"):
            raise
        return [Route("/", _no_page, methods=["GET"])]
    from budgeted.server.page_of_projects import ProjectsToSee, TokenAccess

    return page_routes(ProjectsToSee(projects), TokenAccess(settings, clock), clock=clock)


async def _no_page(request: Request) -> Response:  # noqa: ARG001 - as Starlette has it
    return json_response(501, {"page": "it needs packages that are not installed: pip install 'budgeted[server]'"})


async def _live(request: Request) -> Response:  # noqa: ARG001 - as Starlette has it
    return json_response(200, Health("ok"))


class _Reader:
    """How what is asked is read and checked: the body of a request, or its query."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._asks = endpoint.asks
        self._decoder: msgspec.json.Decoder[object] = msgspec.json.Decoder(endpoint.asks)

    def body(self, data: bytes) -> object:
        try:
            return self._decoder.decode(data)
        except msgspec.ValidationError:
            # What is no JSON at all, or has no end to its depth, is told as that, wherever its meaning went wrong.
            msgspec.json.decode(data, type=msgspec.Raw)
            raise

    def query(self, query: dict[str, str]) -> object:
        query.pop("project", None)
        if unknown := query.keys() - set(self._asks.__struct_fields__):
            raise Refusal(422, "ValidationError", f"there is no query parameter {min(unknown)!r}")
        return msgspec.convert(query, self._asks, strict=False)
