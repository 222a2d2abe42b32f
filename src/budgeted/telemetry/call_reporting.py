"""How the ends of calls are told: counted, noted on their spans, and reported as events.

Nothing here runs for a call that goes well, except what ``semconv=True`` keeps for a collector.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from budgeted.errors import (
    BudgetError,
    BudgetExceededError,
    BudgetStoppedError,
    LedgerError,
    Parts,
    UnattributedCallError,
    UnknownUserError,
    UnpricedModelError,
)
from budgeted.html_tables import amount
from budgeted.ledger.accounts import account_kind, account_name
from budgeted.ledger.admission import Refused
from budgeted.ledger.spending_records import Used
from budgeted.limits.periods import local_time
from budgeted.money import format_usd, to_usd
from budgeted.telemetry import counters, events, log_throttling, span_attributes
from budgeted.telemetry.activity import turned, turned_away
from budgeted.telemetry.events import Event
from budgeted.telemetry.genai_histogram_queue import Operation, operated
from budgeted.telemetry.series_labels import Wanted, labels_of
from budgeted.validation import shown

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from budgeted.ledger.spill_file import Unposted
    from budgeted.payers.payer_interface import Group, Payer
    from budgeted.pricing.model_price import Price
    from budgeted.wire.normalized_request import Request
    from budgeted.wire.response_usage import Answer

TURNED_AWAY: tuple[tuple[type[BudgetError], str, str], ...] = (
    (UnpricedModelError, "unpriced", ""),
    (UnattributedCallError, "unattributed", "global"),
    (UnknownUserError, "unknown_user", "user"),
    (BudgetStoppedError, "stopped", ""),
    (LedgerError, "ledger", ""),
)
"""Refusals that are not about what is left of a limit: the error, the reason, and the kind of account that refused."""


class MeteredCall(Protocol):
    """What is told of a call: what it asked, who paid, when, what it was granted, and how it ended (nano-USD)."""

    request: Request
    groups: tuple[Group, ...]
    at: int
    granted: int
    span: Span | None
    price: Price | None
    cost: int
    outcome: str
    error: str


def note_refusal(
    call: MeteredCall, error: BudgetExceededError, payer: Payer, now: float, parts: Callable[[], Parts]
) -> None:
    """A limit had no room for a call. It is counted already.

    Args:
        call: the call.
        error: what it is refused with.
        payer: whose limit it is.
        now: unix seconds.
        parts: those of the error.
    """
    if not events.is_heard("refused", payer):  # as nearly always: others need not be told at once
        payer.activity.refused(now, functools.partial(turned_away, now, parts))
        return
    event = _of_limit(call, "refused", error, payer)
    text = "budgeted: %s was refused: %s of %s of a %s account"
    why = "calls in flight hold what is left" if error.reason == "held" else "no room is left"
    events.report(event, [payer], text, _asked(call.request), why, error.limit, error.account_kind)


def _of_limit(call: MeteredCall, kind: events.Kind, error: BudgetExceededError, payer: Payer) -> Event:
    return Event(
        kind=kind,
        at=_now(payer),
        project=payer.project_name,
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
        requested=error.requested,
        resets_at=error.resets_at,
    )


def note_asked(call: MeteredCall, error: BudgetExceededError, payer: Payer) -> None:
    """A call has no room, and waits for somebody to give it some: ``error`` is what it is refused with else."""
    event = _of_limit(call, "asked", error, payer)
    text = "budgeted: %s asks for %s of %s of a %s account, and waits for a higher limit"
    payer.activity.waits(id(call), turned(event, asks=True))
    needs = amount(error.requested, error.unit)
    events.report(event, [payer], text, _asked(call.request), needs, error.limit, error.account_kind)


def note_waits(call: MeteredCall, error: BudgetExceededError, payer: Payer) -> None:
    """A call has waited for a while: ``error`` is what it is refused with else. It ends with :func:`note_goes_on`."""
    payer.activity.waits(id(call), turned(_of_limit(call, "asked", error, payer)))


def note_goes_on(call: MeteredCall) -> None:
    """A call waits no more, however that ended."""
    for group in call.groups:
        group.payer.activity.goes_on(id(call))


def note_repeated(call: MeteredCall, payer: Payer, block: str, limit: int, *, refused: bool, news: bool) -> None:
    """A request was made more often than its block allows.

    Args:
        call: whose request it is.
        payer: the block's.
        block: its name.
        limit: how often it may be made.
        refused: whether the call is not sent; else its block only warns.
        news: False where the log has told of this request already.
    """
    event = Event(
        kind="repeated",
        at=_now(payer),
        project=payer.project_name,
        account=block,
        account_kind="block",
        reason="refused" if refused else "warned",
        model=call.request.model,
        provider=call.request.provider,
        limit=f"repeat_limit={limit}",
        unit="calls",
        amount=limit,
    )
    if not news:
        events.tell(event, [payer])
        return
    text = "budgeted: %s %s: repeat_limit=%d lets the same request through no more often; it may be a loop (said once)"
    what = "is refused" if refused else "would be refused, and goes on as on_exceed='warn'"
    events.report(event, [payer], text, _asked(call.request), what, limit)


def note_waiting(
    request: Request, refused: Refused, payer: Payer, waited: float, longest: float, what: str = ""
) -> None:
    """A call has waited for a while, and waits on: of those that are alike, one record a minute.

    Args:
        request: what is asked.
        refused: the limit that has no room.
        payer: whose it is.
        waited: seconds so far.
        longest: seconds that it may wait.
        what: that is waited for, if it is not calls in flight.
    """
    if not what:
        kind = account_kind(refused.account) if refused.account else "block"
        limit = payer.limit_text(refused) if refused.limit else "what others wait for before it"
        what = f"calls in flight, which hold what is left of {limit} of a {kind} account"
    text = "budgeted: %s has waited %.1f s for %s; after %g s (the setting wait) it is refused"
    payer.repeats.log((text, what), payer.clock(), logging.WARNING, text, (_asked(request), waited, what, longest), {})


def note_turned_away(request: Request, groups: Sequence[Group], error: BudgetError, span: Span | None = None) -> None:
    """A call is not sent for another reason than what is left: count it, mark its span, and tell."""
    found = next(((reason, kind) for type_, reason, kind in TURNED_AWAY if isinstance(error, type_)), None)
    if found is None:  # one that was counted where it was made
        return
    reason, kind = found
    name = events.innermost(groups)[0] if kind == "user" else kind
    if isinstance(error, BudgetStoppedError):
        name, kind = error.account, error.account_kind
    counters.refuse(request, groups, reason, kind)
    if span is not None:
        more = {"budgeted.reason": reason, "budgeted.account.kind": kind}
        span_attributes.mark(span, "refused", None, groups, {name: value for name, value in more.items() if value})
    payer = groups[0].payer
    event = Event(
        kind="ledger" if reason == "ledger" else "refused",
        at=_now(payer),
        project=payer.project_name,
        account=name,
        account_kind=kind,
        reason=reason,
        model=request.model,
        provider=request.provider,
    )
    text = "budgeted: %s was refused: %s"
    events.report(event, _payers(groups), text, _asked(request), str(error) if kind == "" else reason)


def note_clamped(call: MeteredCall, most: int) -> None:
    """A call's output was capped so that it fits: its answer may be cut off, so somebody should hear of it.

    Args:
        call: which was granted less.
        most: the output tokens that its model can write: a cap near that cuts off hardly any answer.
    """
    text, granted = "budgeted: %s may write at most %s tokens, so that it fits", str(call.granted)
    if call.request.spending is not None:
        text, granted = "budgeted: %s is granted %s to spend, a part of what is left", format_usd(call.granted * 1000)
    level = logging.WARNING if call.granted < most * 3 // 4 else logging.INFO
    model, request = _model(call), call.request
    fields = {"gen_ai.request.model": model, "gen_ai.provider.name": request.provider}
    alike = text, level, request.model
    call.groups[0].payer.repeats.log(alike, call.at, level, text, (model, granted), fields)


def note_overrun(call: MeteredCall, cost: int, over: int) -> None:
    """A call cost more than was held for it (nano-USD)."""
    text = "budgeted: %s cost $%.6f, $%.6f more than its bound; the next call is refused if that passes a limit"
    event = _of_call(call, "overrun", cost, overrun=to_usd(over), reason="above its bound")
    events.report(event, _payers(call.groups), text, _model(call), to_usd(cost), to_usd(over))


def note_estimate(call: MeteredCall, cost: int, reason: str) -> None:
    """Nobody said what a call cost; it was charged so many nano-USD."""
    event = _of_call(call, "estimated", cost, reason=reason)
    events.report(event, _payers(call.groups), "budgeted: %s was charged an estimate: %s", _model(call), reason)


def note_trouble(groups: Sequence[Group], what: str, error: Exception) -> None:
    """A ledger does not take what it is given."""
    payer = groups[0].payer
    reason = type(error).__name__
    event = Event(kind="ledger", at=_now(payer), project=payer.project_name, reason=reason)
    events.report(event, _payers(groups), "budgeted: %s: %s", what, error)


def note_kept(group: Group, charge: Unposted, where: str, error: Exception, *, lost: bool) -> None:
    """A ledger has not taken a charge, which is kept.

    Args:
        group: who pays.
        charge: what was not taken.
        where: it is kept, in words.
        error: why it was not taken.
        lost: whether it ends with this process: then nothing of it may be left out here.
    """
    event = _of_charge(group, charge, type(error).__name__)
    if lost:  # each of them, as it may be all that is left
        log_throttling.say(logging.ERROR, KEPT, (all_figures(charge), where, error), {})
    events.report(event, (group.payer,), KEPT, figures(group, charge), where, error)


def note_unknown_hold(group: Group, charge: Unposted) -> None:
    """A ledger did not know a hold any more as its call ended; what the call cost was charged all the same."""
    event = _of_charge(group, charge, "unknown hold")
    text = "budgeted: the ledger did not know the hold of %s any more; it was charged without one"
    events.report(event, (group.payer,), text, figures(group, charge))


KEPT = "budgeted: %s was not taken by its ledger. It is kept %s until it is: %s"


def _of_charge(group: Group, charge: Unposted, reason: str) -> Event:
    account, kind = events.innermost((group,))
    return Event(
        kind="ledger",
        at=_now(group.payer),
        project=group.payer.project_name,
        account=account,
        account_kind=kind,
        reason=reason,
        model=charge.model,
        provider=charge.provider,
        cost=to_usd(charge.used.usd),
    )


def figures(group: Group, charge: Unposted) -> str:
    """What a charge is, by names that telemetry may know."""
    who = [events.known_as(group.payer, account_name(one), account_kind(one)) for one in charge.accounts]
    return _figures(charge, [name or f"a {account_kind(one)}" for name, one in zip(who, charge.accounts, strict=True)])


def all_figures(charge: Unposted) -> str:
    """What a charge is, with everybody who pays for it: for where nothing else may be left of it."""
    return _figures(charge, [shown(account_name(one)) for one in charge.accounts])


def _figures(charge: Unposted, who: Sequence[str]) -> str:
    used = charge.used
    model = shown(charge.model) if charge.model else "a call"
    tokens = f"{used.input_tokens} + {used.output_tokens} tokens"
    why = f", {charge.reason}" if charge.reason else ""
    return f"the charge {charge.id} of {format_usd(used.usd)} ({model}, {tokens}, paid by {' and '.join(who)}{why})"


def note_operation(call: MeteredCall, used: Used | None, answer: Answer | None, seconds: float) -> str:
    """A call has ended whose manager has ``semconv=True``. Returns where its cost is from."""
    request = call.request
    operated(
        Operation(
            (request.provider, request.operation, request.model, labels_of(call.groups) if Wanted.any else ()),
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


def _of_call(call: MeteredCall, kind: events.Kind, cost: int, *, reason: str, overrun: float | None = None) -> Event:
    payer = call.groups[0].payer
    account, account_kind = events.innermost(call.groups)
    return Event(
        kind=kind,
        at=_now(payer),
        project=payer.project_name,
        account=account,
        account_kind=account_kind,
        reason=reason,
        model=call.request.model,
        provider=call.request.provider,
        cost=to_usd(cost),
        overrun=overrun,
    )


def _asked(request: Request) -> str:
    return f"a call for {_model_of(request)}" if request.model else "a call"


def _model(call: MeteredCall) -> str:
    return _model_of(call.request)


def _model_of(request: Request) -> str:
    # Quoted where it is hostile: a name may hold line breaks.
    model: str = request.model
    if not model:
        return "a call"
    return model if model.isprintable() and len(model) < 100 else shown(model)


def _payers(groups: Sequence[Group]) -> list[Payer]:
    return [group.payer for group in groups]


def _now(payer: Payer) -> dt.datetime:
    return local_time(payer.clock(), payer.timezone)
