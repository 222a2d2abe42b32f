"""Flask: each request's calls are its user's, streamed ones too, and refusals are answered without a traceback.

::

    init_app(app, user="x-user")
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from wsgiref.types import WSGIEnvironment

from flask import Flask, Response, got_request_exception, request

from budgeted.errors import BudgetError, refusal_behind
from budgeted.integrations.problem_answers import UnhandledRefusals, answer_to, note
from budgeted.integrations.request_payer import RequestBlock, UserOf
from budgeted.integrations.wsgi import BudgetMiddleware, awaited
from budgeted.manager.budget_manager import BudgetManager
from budgeted.payers.cap_text import CapLike
from budgeted.payers.purpose_tags import TagsOf

_REFUSAL = "budgeted.refusal"
"""Where the environ has the refusal that nobody handled."""


def init_app(
    app: Flask,
    user: UserOf,
    *,
    cap: CapLike | None = None,
    tags: TagsOf | None = None,
    manager: BudgetManager | None = None,
    status: int = 429,
    headers: bool = False,
) -> None:
    """Have each request's calls paid by its user, and answer the refusals that nobody handled.

    An error handler of the application's for :class:`~budgeted.BudgetExceededError`, or one that is registered later
    for :class:`~budgeted.BudgetError`, is asked instead of ours.

    Args:
        app: the application.
        user: who pays: the name of a header, which only a proxy may set, or a callable that is given the request, in
            its context (so that Flask-Login knows ``current_user``), and returns a user's name; None counts as a
            missing header.
        cap: what each request may spend, in USD or any unit; None for no cap.
        tags: what requests are for: names with values, or with callables that are given the request, in its context;
            or one callable that returns such a mapping of values. None as a value: not tagged.
        manager: whose accounts; None for the default manager's.
        status: of the answer where the same request will pass after a while; where it never will, that is 402.
        headers: whether answers have ``budgeted-spent`` and ``budgeted-remaining``, as of when headers are sent.

    Raises:
        ValueError, TypeError: an argument makes no sense; the text quotes it.

    Example:
        >>> init_app(app, user=lambda request: current_user.get_id())
    """
    given: object = app
    if not isinstance(given, Flask):
        msg = f"init_app takes a Flask application, got {given!r}"
        raise TypeError(msg)
    asked = _in_context(app, user) if callable(user) else user
    middleware = _Middleware(
        app.wsgi_app, asked, cap=cap, tags=_tags_in_context(app, tags), manager=manager, status=status, headers=headers
    )
    app.wsgi_app = middleware  # type: ignore[method-assign]  # as Flask's documentation has it
    app.register_error_handler(BudgetError, functools.partial(_answered, status=status))
    app.logger.addFilter(UnhandledRefusals())
    got_request_exception.connect(_remember, app)


class _Middleware(BudgetMiddleware):
    """Knows which refusal Flask has answered with a 500."""

    def _swallowed(self, environ: WSGIEnvironment, block: RequestBlock) -> BudgetError | None:  # noqa: ARG002 - Flask tells
        found: BudgetError | None = environ.get(_REFUSAL)
        return found


def _in_context(app: Flask, user: Callable[..., object]) -> Callable[[WSGIEnvironment], object]:
    """Have a callable asked in the request's context, of the request."""

    @functools.wraps(user)
    def asked(environ: WSGIEnvironment) -> object:
        with app.request_context(environ):
            return awaited(user(request))

    return asked


def _tags_in_context(app: Flask, tags: TagsOf | None) -> TagsOf | None:
    if callable(tags):
        return _in_context(app, tags)
    if not isinstance(tags, Mapping):  # which the middleware looks at
        return tags
    return {name: _in_context(app, one) if callable(one) else one for name, one in tags.items()}


def _answered(error: BudgetError, status: int) -> Response:
    """The answer to a refusal that no handler of the application's was for."""
    answer = answer_to(error, status)
    note(answer, request.method, request.path)
    return Response(answer.body, answer.status, answer.headers)


def _remember(_: Flask, exception: BaseException, **__: object) -> None:
    """Nobody has handled an exception: note the refusal that it comes of."""
    request.environ[_REFUSAL] = refusal_behind(exception)
