"""The ASGI application around the endpoints: their paths, the page, and whether the server is well."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable

import anyio
import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from budgeted.errors import LedgerError
from budgeted.http_server.request_headers import CheckedHeaders
from budgeted.manager.environment import warn_of_unknown
from budgeted.server import health, openapi_document
from budgeted.server.endpoint_requests import EndpointRequests, PathRequests, StraightToPaths
from budgeted.server.endpoints import ENDPOINTS
from budgeted.server.error_responses import (
    json_response,
    not_found,
    server_failed,
)
from budgeted.server.health import LIVE, Health
from budgeted.server.ledger_per_project import Projects
from budgeted.server.settings import ServerSettings

logger = logging.getLogger("budgeted")

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
        self._projects = Projects(settings, clock)
        self._document = b""
        requests = EndpointRequests(settings, self._projects)
        paths = {
            path: PathRequests([one for one in ENDPOINTS if one.path == path], requests)
            for path in dict.fromkeys(endpoint.path for endpoint in ENDPOINTS)
        }
        self.app = Starlette(
            routes=[
                *(Route(path, one, methods=one.methods) for path, one in paths.items()),
                *(Route(path, _live if path == LIVE else self._ready, methods=["GET"]) for path in health.PATHS),
                Route("/openapi.json", self._openapi, methods=["GET"]),
                *_page(settings, self._projects, clock or time.time),
            ],
            middleware=[Middleware(CheckedHeaders), Middleware(StraightToPaths, paths)],
            exception_handlers={HTTPException: not_found, Exception: server_failed},
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:  # noqa: ARG002 - as Starlette has it
        yield
        await anyio.to_thread.run_sync(self._projects.close)

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
