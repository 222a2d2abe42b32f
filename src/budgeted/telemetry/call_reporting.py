"""How the ends of calls are told: counted, noted on their spans, and reported as events.

Nothing here runs for a call that goes well, except what ``semconv=True`` keeps for a collector.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from budgeted.errors import (
    BudgetError,
    BudgetExceededError,
    LedgerError,
    UnattributedCallError,
    UnknownUserError,
    UnpricedModelError,
)
from budgeted.ledger.spending_records import Used
from budgeted.money import to_usd
from budgeted.telemetry import counters, events
from budgeted.telemetry.events import Event
from budgeted.validation import shown

if TYPE_CHECKING:
    from budgeted.payers.scope import Group
    from budgeted.wire.responses import Answer

TURNED_AWAY: tuple[tuple[type[BudgetError], str, str], ...] = (
    (UnpricedModelError, "unpriced", ""),
    (UnattributedCallError, "unattributed", "global"),
    (UnknownUserError, "unknown_user", "user"),
    (LedgerError, "ledger", ""),
)
"""Refusals that are not about what is left of a limit: the error, the reason, and the kind of account that refused."""


def note_refusal(call: Any, error: BudgetExceededError, manager: Any) -> None:
    """A limit had no room for a call. It is counted already."""
    event = Event(
        kind="refused",
        at=_now(manager),
        project=manager.project_name,
        account=error.account,
        account_kind=error.account_kind,
        reason=error.reason,
        model=call.request.model,
        provider=call.request.provider,
        limit=error.limit,
        unit=error.unit,
        amount=error.max_budget,
        spent=error.spent,
        held=error.held,
        remaining=error.remaining,
        resets_at=error.resets_at,
    )
    text = "budgeted: %s was refused: %s of %s of a %s account"
    why = "calls in flight hold what is left" if error.reason == "held" else "no room is left"
    events.report(event, [manager], text, _asked(call.request), why, error.limit, error.account_kind)


def note_turned_away(request: Any, groups: Sequence[Group], error: BudgetError, span: Any = None) -> None:
    """A call is not sent for another reason than what is left: count it, mark its span, and tell."""
    found = next(((reason, kind) for type_, reason, kind in TURNED_AWAY if isinstance(error, type_)), None)
    if found is None:  # one that was counted where it was made
        return
    reason, kind = found
    counters.refuse(request, groups, reason, kind)
    if span is not None:
        more = {"budgeted.reason": reason, "budgeted.account.kind": kind}
        counters.mark(span, "refused", None, groups, {name: value for name, value in more.items() if value})
    manager = groups[0].manager
    event = Event(
        kind="ledger" if reason == "ledger" else "refused",
        at=_now(manager),
        project=manager.project_name,
        account=events.payer(groups)[0] if kind == "user" else kind,
        account_kind=kind,
        reason=reason,
        model=request.model,
        provider=request.provider,
    )
    text = "budgeted: %s was refused: %s"
    events.report(event, _managers(groups), text, _asked(request), str(error) if kind == "" else reason)


def note_overrun(call: Any, cost: int, over: int) -> None:
    """A call cost more than was held for it (nano-USD)."""
    text = "budgeted: %s cost $%.6f, $%.6f more than its bound; the next call is refused if that passes a limit"
    event = _of_call(call, "overrun", cost, overrun=to_usd(over), reason="above its bound")
    events.report(event, _managers(call.groups), text, _model(call), to_usd(cost), to_usd(over))


def note_estimate(call: Any, cost: int, reason: str) -> None:
    """Nobody said what a call cost; it was charged so many nano-USD."""
    event = _of_call(call, "estimated", cost, reason=reason)
    events.report(event, _managers(call.groups), "budgeted: %s was charged an estimate: %s", _model(call), reason)


def note_trouble(groups: Sequence[Group], what: str, error: Exception) -> None:
    """A ledger does not take what it is given."""
    manager = groups[0].manager
    reason = type(error).__name__
    event = Event(kind="ledger", at=_now(manager), project=manager.project_name, reason=reason)
    events.report(event, _managers(groups), "budgeted: %s: %s", what, error)


def note_operation(call: Any, used: Used | None, answer: Answer | None, seconds: float) -> str:
    """A call has ended whose manager has ``semconv=True``. Returns where its cost is from."""
    request = call.request
    counters.operated(
        counters.Operation(
            (request.provider, request.operation, request.model, counters.user_of(call.groups)),
            seconds,
            None if used is None else (used.usd, used.input_tokens, used.output_tokens),
            (answer.model or "") if answer is not None else "",
            request.base_url or "",
            call.error,
            call.span,
        )
    )
    if call.outcome == "estimated":
        return "estimate"
    if call.price is None:
        return "caller"
    return "register_price" if call.price.registered else "genai-prices"


def _of_call(call: Any, kind: events.Kind, cost: int, *, reason: str, overrun: float | None = None) -> Event:
    manager = call.groups[0].manager
    account, account_kind = events.payer(call.groups)
    return Event(
        kind=kind,
        at=_now(manager),
        project=manager.project_name,
        account=account,
        account_kind=account_kind,
        reason=reason,
        model=call.request.model,
        provider=call.request.provider,
        cost=to_usd(cost),
        overrun=overrun,
    )


def _asked(request: Any) -> str:
    return f"a call for {_model_of(request)}" if request.model else "a call"


def _model(call: Any) -> str:
    return _model_of(call.request)


def _model_of(request: Any) -> str:
    # Quoted where it is hostile: a name may hold line breaks.
    model: str = request.model
    if not model:
        return "a call"
    return model if model.isprintable() and len(model) < 100 else shown(model)


def _managers(groups: Sequence[Group]) -> list[Any]:
    return [group.manager for group in groups]


def _now(manager: Any) -> dt.datetime:
    return dt.datetime.fromtimestamp(manager.clock(), manager.timezone)
