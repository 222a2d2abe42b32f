"""What happens to a call that does not fit: its input counted exactly, its turn waited for, other models, a refusal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator

import msgspec

from budgeted.errors import BudgetError, BudgetExceededError, UnpricedModelError, made_later
from budgeted.ledger.accounts import CALLS
from budgeted.ledger.admission import Refused
from budgeted.metering import block_hold, call_bound
from budgeted.metering.blocking_limit import REPEATED, Refusal, error_of, parts_of
from budgeted.metering.call import Call
from budgeted.payers import swallowed_refusals
from budgeted.pricing import tiktoken_counting
from budgeted.system import jitter
from budgeted.telemetry import call_reporting, counters, span_attributes

logger = logging.getLogger("budgeted")

SAID_AFTER = 1.0
"""Seconds that a call waits until it says so."""
ASKING_SECONDS = 5.0
"""How often at least a call that waits for a higher limit looks whether there is one."""
A_HIGHER_LIMIT = "somebody to raise the limit"
"""What a call waits for that has asked: it has told of that already."""
MOMENT = 0.05
"""The shortest sleep of a call that waits, in seconds."""


def refuse_at_once(call: Call, refusal: Refusal) -> None:
    """Refuse a call that nothing can help, before anything is made to wait with: many ask on and on.

    Args:
        call: without a hold.
        refusal: the first one.

    Raises:
        BudgetExceededError: nothing can help.
    """
    if _is_final(call, refusal):
        raise _exceeded(call, refusal)  # in no variable: a frame that an error's traceback has would keep the error


def negotiate(
    call: Call, refusal: Refusal, wake: Callable[[], None], now: Callable[[], float]
) -> Generator[float, None, None]:
    """Get a hold that was refused at first, by every means that the payers allow.

    Args:
        call: without a hold.
        refusal: the first one.
        wake: called when it may be this call's turn, from any thread.
        now: the seconds by which waiting is measured.

    Returns:
        The steps: each yields the longest to sleep before going on, in seconds; going on earlier does no harm. They
        raise a :exc:`BudgetExceededError` where nothing has helped.
    """
    try:
        yield from _negotiated(call, refusal, wake, now)
    except BudgetError as error:
        # Unless it was counted where it was made: somebody has stopped the account meanwhile, for one.
        call_reporting.note_turned_away(call.request, call.groups, error, call.span)
        swallowed_refusals.note(call.blocks, error)
        raise
    finally:
        call_reporting.note_goes_on(call)


def _is_final(call: Call, refusal: Refusal) -> bool:
    """Whether nothing that can be done about a refusal helps."""
    refused, policy = refusal.refused, refusal.policy
    if refused.reason == REPEATED:
        return True
    if refused.reason != "spent" or policy.fallback or (policy.on_exceed == "ask" and refusal.block is None):
        return False
    return _counts_for_nothing(call, refused)


def _negotiated(
    call: Call, refusal: Refusal, wake: Callable[[], None], now: Callable[[], float]
) -> Generator[float, None, None]:
    again: Refusal | None = refusal
    patience = _Patience(call, now)
    if (yield from _counted(call, refusal, patience, wake)):
        again = call.try_hold()
    if again is not None and again.refused.reason == "held":
        again = yield from _wait(call, again, patience, wake)
    if again is not None and again.refused.reason != REPEATED:
        again = _fall_back(call, again)
    if again is not None and again.policy.on_exceed == "ask" and again.block is None:
        again = yield from _ask(call, again, patience, wake)
    if again is not None:
        raise _exceeded(call, again)


class _Patience:
    """How long a call waits, from now on; when it has for a while, it says so once.

    Args:
        call: which waits.
        now: the seconds by which that is measured.
    """

    def __init__(self, call: Call, now: Callable[[], float]) -> None:
        self._call, self._now = call, now
        self._began = now()
        self._said = False

    def left(self, refusal: Refusal) -> float:
        """Seconds that it may wait on, by the policy of whoever has no room."""
        return self._began + refusal.policy.wait - self._now()

    def sleep(self, seconds: float, refusal: Refusal, what: str = "") -> float:
        """Seconds to sleep: so many at most.

        Args:
            seconds: the most.
            refusal: what is in the way.
            what: that is waited for, if it is not the refusal's calls in flight.
        """
        if self._said:
            return seconds
        waited = self._now() - self._began
        if waited < SAID_AFTER:
            return min(seconds, SAID_AFTER - waited)
        self._said = True
        call_reporting.note_waiting(
            self._call.request, refusal.refused, refusal.payer, waited, refusal.policy.wait, what
        )
        if refusal.refused.limit and what != A_HIGHER_LIMIT:
            call_reporting.note_waits(self._call, _error(self._call, refusal), refusal.payer)
        return seconds


def _counted(
    call: Call, refusal: Refusal, patience: _Patience, wake: Callable[[], None]
) -> Generator[float, None, bool]:
    """Count the input exactly, if need be once the tokenizer is loaded. True if that made it smaller."""
    refused = refusal.refused
    if _counts_for_nothing(call, refused):
        return False
    if call.recount():
        return True
    while tiktoken_counting.when_loaded(call.request.model, wake):
        left = patience.left(refusal)
        if left <= 0 or call.request.elsewhere or refused.reason == "held":  # that waits for its turn, as well
            return False
        yield patience.sleep(left, refusal, "a tokenizer that is being loaded, to count its input exactly")
        if call.recount():
            return True
    return call.recount()  # it may just have been loaded


def _counts_for_nothing(call: Call, refused: Refused) -> bool:
    """Whether a call does not fit whatever its input has: who has used up a limit waits for no tokenizer."""
    if refused.unit == CALLS or call.request.fixed is not None:
        return True
    return refused.reason == "spent" and refused.amount - refused.spent < call_bound.least(call, refused.unit)


def _wait(
    call: Call, refusal: Refusal, patience: _Patience, wake: Callable[[], None]
) -> Generator[float, None, Refusal | None]:
    """Wait for calls in flight to end, so long as the policy has it."""
    first, turns = refusal, refusal.turns
    ticket = turns.ticket(wake)
    try:
        try:
            turns.join(ticket, refusal.refused.account)
            while True:
                payer, refused = refusal.payer, refusal.refused
                payer.ledger.watch()
                if turns.first(ticket):
                    call.at = int(call.groups[0].payer.clock())  # its period is the one in which it gets its turn
                    call.recount()
                    again = call.try_hold(queued=turns.waiting_for(refused.account))
                    if again is None or again.refused.reason != "held":
                        return again
                    refusal, payer, refused = again, again.payer, again.refused
                    if again.turns is not turns:
                        turns.leave(ticket)
                        turns = again.turns
                    turns.join(ticket, refused.account)
                left = patience.left(first)
                if left <= 0:
                    # One that only ever stood behind others has its one try now, and learns what is in the way.
                    return refusal if refused.limit else call.try_hold(queued=turns.waiting_for(refused.account))
                # Nobody ends a period: the one that is waited for looks at its end itself.
                until = refused.end - payer.clock() if refused.end else left
                if payer.ledger.poll is not None:  # calls of other hosts end unnoticed; those that wait look apart
                    until = min(until, jitter.between(MOMENT, payer.ledger.poll))
                yield patience.sleep(min(left, max(until, MOMENT)), refusal)
        finally:
            turns.leave(ticket)
    except BaseException:  # a signal's handler has raised, perhaps just there
        turns.leave(ticket)
        raise


def _fall_back(call: Call, refusal: Refusal) -> Refusal | None:
    asked = call.request
    if asked.fixed is not None:  # whichever model is named: it costs the same
        return refusal
    for model in refusal.policy.models:
        call.ask_for(msgspec.structs.replace(asked, model=model, instead=()))
        try:
            again = call.try_hold()
        except UnpricedModelError as error:
            logger.warning("budgeted: the fallback %s cannot be used: %s", model, error)
            continue
        if again is None:
            logger.info("budgeted: %s does not fit, going on with %s", asked.model, model)
            return None
    call.ask_for(asked)
    return refusal


def _ask(
    call: Call, refusal: Refusal, patience: _Patience, wake: Callable[[], None]
) -> Generator[float, None, Refusal | None]:
    """Tell that a call has no room, and wait for somebody to give it some, so long as the policy has it."""
    call_reporting.note_asked(call, _error(call, refusal), refusal.payer)
    payer, turns = refusal.payer, refusal.turns
    ticket = turns.ticket(wake)
    try:
        # In a queue of its own: others may need less, and need not stand behind it.
        turns.join(ticket, f"? {ticket.number}")
        again: Refusal | None = refusal
        while again is not None and (left := patience.left(refusal)) > 0:
            payer.ledger.watch()
            until = again.refused.end - payer.clock() if again.refused.end else left
            until = min(until, payer.ledger.poll or ASKING_SECONDS, ASKING_SECONDS)
            yield patience.sleep(min(left, max(until, MOMENT)), refusal, A_HIGHER_LIMIT)
            call.at = int(call.groups[0].payer.clock())
            again = call.try_hold()
        # One that only stood behind others says nothing of a limit.
        return refusal if again is not None and not again.refused.limit else again
    finally:
        turns.leave(ticket)


def _exceeded(call: Call, refusal: Refusal) -> BudgetExceededError:
    """Count the refusal, and make the error that tells of it."""
    payer, reason, kind = refusal.payer, refusal.refused.reason, refusal.kind
    now = payer.clock()
    parts = parts_of(refusal, kind, now, call.request.model, _fitting(call, refusal))
    error = made_later(parts)
    counters.refuse(call.request, call.groups, reason, kind)
    if call.blocks:
        block_hold.count(call.blocks, refused=1)
        swallowed_refusals.note(call.blocks, error)
    if call.span is not None:
        why = {"budgeted.reason": reason, "budgeted.account.kind": kind}
        span_attributes.mark(call.span, "refused", None, call.groups, why)
    if reason == REPEATED:
        times = refusal.refused.amount
        call_reporting.note_repeated(call, payer, refusal.name, times, refused=True, news=refusal.news)
    else:
        call_reporting.note_refusal(call, error, payer, now, parts)
    return error


def _error(call: Call, refusal: Refusal) -> BudgetExceededError:
    return error_of(refusal, model=call.request.model, max_output_tokens=_fitting(call, refusal))


def _fitting(call: Call, refusal: Refusal) -> int | None:
    """The largest output cap that would have fitted."""
    affordable = refusal.refused.affordable
    return affordable if call.request.output and affordable > 0 else None
