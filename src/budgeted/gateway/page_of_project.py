"""The page of a gateway: of its one project, at ``/`` for browsers and below ``/page/``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from budgeted.gateway import request_checks
from budgeted.gateway.callers import CallerError
from budgeted.gateway.key_in_address import refuse_key_in_address
from budgeted.gateway.page_access import GatewayAccess
from budgeted.gateway.page_of_keys import KeysOfGateway
from budgeted.gateway.refusals import AWAY, Refusal
from budgeted.gateway.shared_parts import Gateway
from budgeted.http_server.request_headers import CheckedHeaders
from budgeted.http_server.tokens import Tokens
from budgeted.manager.administrative_manager import Books
from budgeted.manager.budget_manager import BudgetManager
from budgeted.page.answers import problem_page, static_file
from budgeted.page.application import STATIC, page_routes
from budgeted.validation import shown


def page_while_away() -> ASGIApp:
    """What is in the page's place as long as the ledger cannot be read."""

    async def away(_: Request) -> Response:
        text = f"{AWAY[:1].upper()}{AWAY[1:]}. The page is there as soon as it is."
        return problem_page(503, "The ledger is away", text)

    every_other = Route("/{path:path}", away, methods=[*request_checks.METHODS])
    return Starlette(routes=[Route(f"{STATIC}{{name}}", static_file), every_other])


class ProjectToSee:
    """What the page shows of a gateway: its project, in the ledger that it has open.

    Args:
        manager: whose accounts pay.
    """

    def __init__(self, manager: BudgetManager) -> None:
        settings = manager.settings
        self._books = Books(
            manager.project_name,
            ledger=manager.ledger,
            timezone=settings.timezone,
            hold_timeout=settings.hold_timeout,
            clock=settings.clock,
        )

    def projects(self) -> list[str]:
        """The one that there is."""
        return [self._books.project_name]

    @contextmanager
    def books(self, project: str, *, changes: bool = False) -> Iterator[Books]:  # noqa: ARG002 - as servers have it
        """The project's budgets.

        Raises:
            ValueError: another project is asked for.
        """
        if project != self._books.project_name:
            msg = f"this gateway has no project {shown(project)}: it has one alone"
            raise ValueError(msg)
        yield self._books


class PageOfProject:
    """The page as an ASGI application, for what :func:`.page_requests.is_for_page` says.

    Args:
        gateway: whose project it shows.
        environment: where ``BUDGETED_TOKEN`` and ``BUDGETED_READ_TOKEN`` may be.

    Raises:
        ValueError: a token makes no sense.
    """

    def __init__(self, gateway: Gateway, environment: Mapping[str, str]) -> None:
        access = GatewayAccess(Tokens.of_environment(environment), gateway.callers, is_open=gateway.settings.open)
        self._app = Starlette(
            routes=page_routes(
                ProjectToSee(gateway.manager), access, keys=KeysOfGateway(), clock=gateway.manager.payer.clock
            ),
            middleware=[Middleware(CheckedHeaders)],
            exception_handlers={HTTPException: _nothing_there, Exception: _mistake},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, if it is one that may be looked at."""
        if (problem := _problem(scope)) is not None:
            await problem_page(problem.status, "This cannot be answered", problem.text)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _problem(scope: Scope) -> Refusal | None:
    """What every request to the gateway is refused for."""
    if (problem := request_checks.problem(scope, dict(scope["headers"]))) is not None:
        return problem
    try:
        refuse_key_in_address(scope["raw_path"].decode("latin-1"), scope["query_string"])
    except CallerError as error:
        return Refusal(error.status, error.text)
    return None


async def _nothing_there(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as Starlette has it
    assert isinstance(error, HTTPException)  # noqa: S101 - it is called for no other
    text = "nothing is at this address" if error.status_code == 404 else f"{error.detail} at this address"
    answer = problem_page(error.status_code, "Nothing there", text)
    answer.headers.update(error.headers or {})
    return answer


async def _mistake(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as Starlette has it
    return problem_page(500, "A mistake", "this gateway has made a mistake; its log says which")
