"""Answers as JSON, above all to requests that went wrong: which status an error has, and what its body says."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from budgeted.errors import (
    BudgetError,
    BudgetExceededError,
    LedgerCorruptError,
    LedgerUnavailableError,
    UnknownUserError,
)
from budgeted.ledger.accounts import account_kind, account_name
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Stale
from budgeted.ledger.http import verbs_as_json
from budgeted.ledger.limit_conversion import limit_of_id, unit_of

_encode = msgspec.json.Encoder().encode


class Refusal(Exception):  # noqa: N818 - it is an answer
    """An answer with a status from 400 on."""

    def __init__(self, status: int, kind: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.headers = status, kind, headers


def json_response(status: int, body: object, **headers: str) -> Response:
    """An answer with a JSON body.

    Args:
        status: HTTP's.
        body: what msgspec can encode.
        headers: of the answer, beside its type and length.
    """
    return Response(_encode(body), status, headers, "application/json")


_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (UnknownUserError, 404),
    (LedgerUnavailableError, 503),
    (LedgerCorruptError, 500),
    (BudgetError, 409),
    (msgspec.ValidationError, 422),
    (msgspec.DecodeError, 400),
    (RecursionError, 400),
)


def problem_response(error: Exception) -> Response:
    """The answer to a request that went wrong, for its sender to see why."""
    status, problem = problem_of(error)
    headers = {"retry-after": "1"} if status == 503 else {}
    if isinstance(error, Refusal):
        headers = error.headers
    return json_response(status, verbs_as_json.ProblemBody(problem), **headers)


def problem_of(error: Exception) -> tuple[int, verbs_as_json.Problem]:
    """The status of a request that went wrong, and why it did.

    Args:
        error: what it failed with.
    """
    if isinstance(error, Refusal):
        return error.status, verbs_as_json.Problem(error.kind, str(error))
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 422)
    text = "the JSON is nested too deeply" if isinstance(error, RecursionError) else str(error)
    if isinstance(error, UnknownUserError):  # which says how to make one in Python
        known, found, _ = text.rpartition("; create_budget(")
        text = f"{known}; `PUT /v1/limits` makes it one" if found else text
    return status, verbs_as_json.Problem(type(error).__name__, text)


def problem_of_answer(found: object) -> tuple[int, verbs_as_json.Problem] | None:
    """The status of what was refused, and why; None where it was not.

    Args:
        found: what was done.
    """
    if isinstance(found, Refused):
        return 402, verbs_as_json.Problem("BudgetExceededError", refusal_text(found), found)
    if isinstance(found, Stale):
        text = "the route was computed from older limits or periods; compute it again"
        return 409, verbs_as_json.Problem(Stale.__name__, text)
    return None


FAILED = "the server failed; its log says why"
"""Of what nobody has foreseen."""


def _problem(status: int, kind: str, text: str, headers: Mapping[str, str]) -> Response:
    return json_response(status, verbs_as_json.ProblemBody(verbs_as_json.Problem(kind, text)), **headers)


def refusal_text(refused: Refused) -> str:
    """A refusal as people read it."""
    try:
        limit = str(limit_of_id(refused.limit, refused.amount))
    except ValueError:  # a client may call its limits as it likes
        limit = f"{refused.limit} ({refused.amount})"
    fields = {name: getattr(refused, name) for name in ("amount", "spent", "held", "requested", "reason")}
    kind, name = account_kind(refused.account), account_name(refused.account)
    unit = unit_of(refused.limit, refused.unit)
    return str(BudgetExceededError(account=name, account_kind=kind, limit=limit, unit=unit, **fields))


def not_found(request: Request, error: Exception) -> Response:
    """There is no such path, or it knows no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    text = f"{request.method} {request.url.path}: {error.detail}; see /openapi.json"
    kind = str(error.detail).replace(" ", "")
    return _problem(error.status_code, kind, text, error.headers or {})


def server_failed(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as Starlette has it
    """Something unforeseen, which Starlette logs."""
    return _problem(500, type(error).__name__, FAILED, {})
