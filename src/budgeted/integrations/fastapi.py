"""FastAPI: a dependency that says who pays, instead of a middleware that reads a header of every request.

::

    answer_refusals(app)

    @app.post("/chat")
    async def chat(user: Annotated[str, Depends(payer("x-user"))]): ...

The rest of such a request's calls are that user's: the endpoint's, sync or async, those of later dependencies, of what
is streamed, and of background tasks. Where all requests have a user, ``app.add_middleware(BudgetMiddleware, user=...)``
of :mod:`budgeted.integrations.asgi` does both.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncGenerator, Callable, Iterator

import fastapi
from fastapi import Depends, FastAPI
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from budgeted.integrations.asgi import EXCHANGE, RefusalMiddleware, tags_of, user_of
from budgeted.integrations.asgi_types import Scope
from budgeted.integrations.asgi_websocket import POLICY_VIOLATION
from budgeted.integrations.problem_answers import Answer, PayerError, answer_to, note
from budgeted.integrations.request_payer import RequestBlock, RequestPayer, UserOf
from budgeted.manager.budget_manager import BudgetManager
from budgeted.payers.cap_text import CapLike
from budgeted.payers.hooks_in_place import fixtures
from budgeted.payers.purpose_tags import TagsOf
from budgeted.payers.scope import current, enter, leave

if "scope" not in inspect.signature(Depends).parameters:
    _MSG = (
        f"payer() needs fastapi 0.121 or newer, where dependencies last until a stream has ended, and this is "
        f"{fastapi.__version__}; add the middleware of budgeted.integrations.asgi instead"
    )
    raise ImportError(_MSG)

Payer = Callable[..., AsyncGenerator[str, None]]


class NoPayerError(HTTPException):
    """Nobody can be told to pay for a request. As it is, it becomes FastAPI's own JSON."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status, answer.problem.detail)
        self.answer = answer


def payer(
    user: UserOf,
    *,
    cap: CapLike | None = None,
    tags: TagsOf | None = None,
    manager: BudgetManager | None = None,
) -> Payer:
    """A dependency that has the rest of a request paid by its user, and gives the user's name.

    Args:
        user: who pays: the name of a header, which only a proxy may set, or a callable that returns a user's name: a
            dependency of its own, or a function of one parameter without a type, which is given the connection. None
            counts as a missing header.
        cap: what each request may spend, in USD or any unit; None for no cap.
        tags: what requests are for: names with values, or with callables that are given the connection, sync or async;
            or one callable that returns such a mapping of values. None as a value: not tagged.
        manager: whose accounts; None for the default manager's.

    Returns:
        What ``Depends`` takes. It answers a request without a user with status 400, and one whose callable raises or
        returns no name with 500.

    Raises:
        ValueError, TypeError: an argument makes no sense; the text quotes it.

    Example:
        >>> async def chat(user: Annotated[str, Depends(payer("x-user"))]): ...
    """
    paying = RequestPayer(user, cap, manager, tags)
    if paying.user is not None and not _takes_connection(paying.user):
        return _of_dependency(paying)

    async def paid(connection: HTTPConnection) -> AsyncGenerator[str, None]:
        scope = connection.scope
        try:
            user = await user_of(paying, scope, connection)
            block = paying.block(user, await tags_of(paying, connection))
        except PayerError as error:
            raise _turned_away(scope, error) from None
        with _paying(scope, block):
            yield block.user or ""

    return paid


def _of_dependency(paying: RequestPayer) -> Payer:
    """The same where a dependency tells who pays: FastAPI asks it."""

    async def paid(connection: HTTPConnection, found: object = Depends(paying.user)) -> AsyncGenerator[str, None]:
        scope = connection.scope
        try:
            user = paying.of_callable(found)
            block = paying.block(user, await tags_of(paying, connection))
        except PayerError as error:
            raise _turned_away(scope, error) from None
        with _paying(scope, block):
            yield block.user or ""

    return paid


@contextlib.contextmanager
def _paying(connection: Scope, block: RequestBlock) -> Iterator[None]:
    """Have a block pay until its dependency ends: all of the request runs in this task, or in what this task starts."""
    exchange = connection.get(EXCHANGE)
    if exchange is not None and exchange.block is None:
        exchange.block = block
    if not fixtures.intact():
        fixtures.restore()
    paying = block.scope(current())
    try:
        enter(paying)
        yield
    finally:
        leave(paying)


def _turned_away(scope: Scope, error: PayerError) -> HTTPException | WebSocketException:
    """What FastAPI answers a request with for which nobody pays."""
    answer = answer_to(error)
    note(answer, scope.get("method", "WEBSOCKET"), scope["path"])
    if scope["type"] == "websocket":
        return WebSocketException(POLICY_VIOLATION, answer.problem.title)
    return NoPayerError(answer)


def _takes_connection(user: Callable[..., object]) -> bool:
    """Whether a callable is a function of the connection, rather than a dependency, whose parameters have types."""
    try:
        parameters = [*inspect.signature(user).parameters.values()]
    except (ValueError, TypeError):
        return False
    empty = inspect.Parameter.empty
    return len(parameters) == 1 and parameters[0].annotation is empty and parameters[0].default is empty


def answer_refusals(app: FastAPI, *, status: int = 429, headers: bool = False) -> None:
    """Have the refusals answered that nobody handled, and requests without a user by problem JSON, as elsewhere.

    Args:
        app: the application, to which no request has come yet.
        status: of the answer where the same request will pass after a while; where it never will, that is 402.
        headers: whether answers have ``budgeted-spent`` and ``budgeted-remaining``, as of when headers are sent.

    Raises:
        ValueError, TypeError: an argument makes no sense; the text quotes it.

    Example:
        >>> answer_refusals(app)
    """
    RefusalMiddleware(app, status=status, headers=headers)  # Starlette makes its own only with the first request
    app.add_middleware(RefusalMiddleware, status=status, headers=headers)
    app.add_exception_handler(NoPayerError, _problem)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, NoPayerError)  # noqa: S101 - it is registered for these
    return Response(error.answer.body, error.answer.status, dict(error.answer.headers))
