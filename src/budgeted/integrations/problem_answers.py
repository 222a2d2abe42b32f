"""What a web request is answered whose calls were refused: a status, problem JSON (RFC 9457), and one log line.

Nothing in it names a user whom telemetry may not name, a block's key, or what others have spent.
"""

from __future__ import annotations

import http
import logging
import math
import traceback
from typing import NamedTuple

import msgspec

from budgeted.errors import (
    BudgetError,
    BudgetExceededError,
    BudgetStoppedError,
    CarrierError,
    LedgerError,
    UnattributedCallError,
    UnknownUserError,
    UnpricedModelError,
    refusal_behind,
)
from budgeted.telemetry.log_throttling import say
from budgeted.validation import shown

CONTENT_TYPE = "application/problem+json"

LEDGER_SECONDS = 5
"""After how long to try again where the ledger is away, in seconds."""

ANSWERED, ANSWERED_BEFORE, CUT_SHORT = (
    "was answered with",
    "had been answered before what would have been",
    "was cut short, which would have been",
)
"""What became of a request, as the log has it before the status."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of an answer, as RFC 9457 has it, with members of our own.

    Args:
        type, title, status, detail: RFC 9457's.
        account: who has no room, by the name that telemetry may know it by; None where it may not.
        account_kind: ``"global"``, ``"user"`` or ``"block"``.
        limit: the limit as text.
        resets_at: when its period ends, in ISO 8601.
    """

    type: str
    title: str
    status: int
    detail: str
    account: str | None = None
    account_kind: str | None = None
    limit: str | None = None
    resets_at: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """An answer, whole.

    Args:
        problem: what the body says.
        retry_after: whole seconds, or None.
        told: what the log says beside: it may know more than whoever asked.
        level: of :mod:`logging`.
    """

    problem: Problem
    retry_after: int | None = None
    told: str = ""
    level: int = logging.WARNING

    @property
    def status(self) -> int:
        """HTTP's."""
        return self.problem.status

    @property
    def status_line(self) -> str:
        """The status with its phrase, as WSGI has it."""
        phrase = next((one.phrase for one in http.HTTPStatus if one == self.status), "Refused")
        return f"{self.status} {phrase}"

    @property
    def body(self) -> bytes:
        """The problem as JSON."""
        return msgspec.json.encode(self.problem)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers that go with the body."""
        found = [("content-type", CONTENT_TYPE), ("content-length", str(len(self.body)))]
        return found if self.retry_after is None else [*found, ("retry-after", str(self.retry_after))]

    @property
    def summary(self) -> str:
        """It in a line: what WebSockets are closed with."""
        return f"{self.problem.title}: {self.problem.detail}"


class PayerError(Exception):
    """Nobody can be told to pay for a request, which is not served.

    Args:
        status: 400 where the request is wrong, 500 where the application is.
        detail: what is wrong, for whoever asked.
        told: the same for the log.
    """

    def __init__(self, status: int, detail: str, told: str = "") -> None:
        super().__init__(told or detail)
        self.status, self.detail = status, detail


class UnhandledRefusals(logging.Filter):
    """Keeps refusals that are answered from being logged with their tracebacks, for frameworks that log each 500.

    Example:
        >>> logging.getLogger("django.request").addFilter(UnhandledRefusals())
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written: unless it has the traceback of a refusal."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        return error is None or refusal_behind(error) is None


def answer_to(error: BudgetError | PayerError, status: int = 429, raised: BaseException | None = None) -> Answer:
    """The answer to a request that was refused.

    Args:
        error: why.
        status: where the same request will pass after a while.
        raised: what came of it, which the log tells if it is another exception: it may be a mistake by itself.
    """
    if isinstance(error, PayerError):
        answer = _nobody_pays(error)
    elif isinstance(error, BudgetStoppedError):
        answer = _stopped(error)
    elif isinstance(error, BudgetExceededError):
        answer = _exceeded(error, status)
    else:
        answer = _without_figures(error, next(one for one in _OTHERS if isinstance(error, one.error)))
    if raised is None or raised is error:
        return answer
    return msgspec.structs.replace(answer, told=f"{answer.told or answer.problem.detail}; raised as {_place(raised)}")


def _place(raised: BaseException) -> str:
    """An exception's type and where it was raised; its text may name a user."""
    where = ""
    for frame, line in traceback.walk_tb(raised.__traceback__):
        where = f" at {frame.f_code.co_filename}:{line}"
    return type(raised).__name__ + where


def note(answer: Answer, method: str, path: str, where: str = ANSWERED) -> None:
    """Write the one log line of a refused request.

    Args:
        answer: what it was answered.
        method: HTTP's.
        path: the request's, without its query; anybody may have written it.
        where: what became of it, before the status.
    """
    fields = {"http.response.status_code": answer.status, "http.request.method": method}
    text = answer.told or answer.problem.detail
    say(
        answer.level,
        "budgeted: %s %s %s %d: %s",
        (shown(method)[1:-1], shown(path), where, answer.status, text),
        fields,
    )


def _who(error: BudgetExceededError) -> str:
    if error.account_kind == "global":
        return "the global budget"
    return f"{error.account_kind} {error.known_as!r}" if error.known_as else f"a {error.account_kind}"


def _stopped(error: BudgetStoppedError) -> Answer:
    """Why it was stopped is for the log alone."""
    detail = f"{_who(error)} is stopped, and nothing is spent until somebody lets it go on"
    problem = Problem(
        type="urn:budgeted:stopped",
        title="Spending has been stopped",
        status=403,
        detail=detail,
        account=error.known_as or None,
        account_kind=error.account_kind,
    )
    return Answer(problem, told=f"{detail}: {error.why}" if error.why else detail)


def _exceeded(error: BudgetExceededError, status: int) -> Answer:
    name = error.known_as
    # What needs more than all of a limit passes at no time.
    passes = error.retry_after is not None and not error.requested > error.max_budget
    return Answer(
        Problem(
            type="urn:budgeted:budget-exceeded",
            title="No room is left in a budget",
            status=status if passes else 402,
            detail=error.without_figures(_who(error)),
            account=name or None,
            account_kind=error.account_kind,
            limit=error.limit,
            resets_at=None if error.resets_at is None else error.resets_at.isoformat(),
        ),
        retry_after=max(1, math.ceil(error.retry_after)) if passes and error.retry_after is not None else None,
    )


class _Other(NamedTuple):
    """How a refusal is answered where no limit is in the way; what is wrong in here is told to the log alone."""

    error: type[BudgetError]
    status: int
    type: str
    title: str
    detail: str
    retry_after: int | None = None


_LOG_SAYS = "no budget could bound what it costs, so that nothing was sent; the server's log says why"

_OTHERS = (
    _Other(
        *(UnknownUserError, 403, "unknown-user", "The user of this request has no budget"),
        "this application serves users who have a budget, and there is none for the user of this request",
    ),
    _Other(
        *(CarrierError, 400, "carrier", "What came along to say who pays cannot be trusted"),
        "the header budgeted-payers is not as it was made, too old, or of another project",
    ),
    _Other(
        *(LedgerError, 503, "ledger", "The budgets cannot be looked at"),
        "the ledger of the budgets is away or damaged, so that nothing may be spent; try again later",
        LEDGER_SECONDS,
    ),
    _Other(UnpricedModelError, 500, "unpriced", "What this request costs is not known", _LOG_SAYS),
    _Other(UnattributedCallError, 500, "unattributed", "Nobody pays for this request", _LOG_SAYS),
    _Other(BudgetError, 500, "refused", "This request was refused", _LOG_SAYS),
)


def _without_figures(error: BudgetError, other: _Other) -> Answer:
    problem = Problem(f"urn:budgeted:{other.type}", other.title, other.status, other.detail)
    told = other.detail if isinstance(error, UnknownUserError) else str(error)
    return Answer(problem, other.retry_after, told, logging.WARNING if other.status < 500 else logging.ERROR)


def _nobody_pays(error: PayerError) -> Answer:
    title = "This request does not say who pays" if error.status == 400 else "Who pays could not be told"
    kind = "urn:budgeted:no-payer" if error.status == 400 else "urn:budgeted:payer-failed"
    level = logging.WARNING if error.status < 500 else logging.ERROR
    return Answer(Problem(kind, title, error.status, error.detail), None, str(error), level)
