"""The life of one metered call: bound, hold, run, settle.

Everything here is synchronous. What can take long (the wait for other calls, a ledger over the network, a lock that
another process keeps) is a generator step or one method, which :mod:`budgeted.metering.runner` runs in this thread,
or for a coroutine beside its event loop.
"""

from __future__ import annotations

import contextlib
import functools
import time
from typing import TypeAlias

import msgspec
from opentelemetry import trace

from budgeted.errors import LedgerError, LedgerLockedError
from budgeted.ledger import background_worker
from budgeted.ledger.admission import Ask
from budgeted.ledger.spending_records import Used
from budgeted.metering import (
    after_disconnect,
    block_hold,
    call_bound,
    cost_bound,
    ledger_hold,
    routed_request,
    settlement,
    would_refuse,
)
from budgeted.metering.blocking_limit import Refusal, by_ledger
from budgeted.metering.call_bound import MOST_SHARES, UNCOUNTED
from budgeted.metering.charged_responses import remember
from budgeted.metering.cheaper_model import cheaper
from budgeted.metering.cost_bound import OUTPUT_UNKNOWN
from budgeted.metering.ledger_hold import LedgerHold
from budgeted.metering.would_refuse import Refuser
from budgeted.payers import block_figures
from budgeted.payers.block_figures import BlockFigures, caps_lock, shared_caps
from budgeted.payers.on_exceed_policy import degrading
from budgeted.payers.payer_interface import Group, Plan
from budgeted.payers.repeated_requests import watching
from budgeted.payers.scope import Scope, with_shared_caps
from budgeted.pricing import input_token_bound
from budgeted.pricing.model_price import Price
from budgeted.pricing.usage import Counts, Usage
from budgeted.telemetry import call_reporting, counters, span_attributes
from budgeted.wire.exception_classification import REFUSED, UNSENT, classify, reason_of
from budgeted.wire.normalized_request import Request
from budgeted.wire.response_usage import Answer

_NOTHING = Ask()

Ending: TypeAlias = tuple[Used | None, str, Answer | None]
"""How a call ends: what it used, None for nothing; why nobody knows that for sure, or ""; the answer, if one came."""

_GIVEN_BACK: Ending = (None, "", None)
"""The ending of a call that was not sent after all, and counts as none."""

FORGOTTEN = "forgotten before it ended"


class Call(msgspec.Struct, eq=False, weakref=True):
    """One call, from its hold to its settlement.

    Args:
        request: what is asked.
        groups: the payers' accounts, by payer.
        blocks: the payers' blocks.
        at: when it began, in unix seconds.
        span: the span that it is noted on, or None.
        handled: the exception that was being handled when the call began: it says nothing about this one.

    Attributes:
        parts: its holds, one per payer; none before it holds.
        granted: the output tokens that may be asked for.
        capped: True if ``granted`` must be written into the request.
        usd: nano-USD held.
        cost: nano-USD charged, once the call has ended.
        outcome: ``"settled"``, ``"estimated"`` or ``"failed"``, once the call has ended.
        price: the model's, if it is known.
        ask: what was held for.
        endings: how it is to end, by whoever says so; the first one counts. A list, as appending to it is atomic
            without a lock, and shows whoever was interrupted meanwhile whether it was the first.
        begun: whether its request may have been sent.
        error: the type of the exception that the call ended with, or "".
        size: the most tokens of its input.
        whole: whether it gets all the output that it asks for, or is refused.
        would_refuse: the limits of accounts that only warn which would have refused it.
        sent: when it was sent, by the clock that durations are measured with; 0 where nobody wants to know.
    """

    request: Request
    groups: tuple[Group, ...]
    blocks: tuple[BlockFigures, ...]
    at: int
    span: trace.Span | None
    handled: BaseException | None
    endings: list[Ending] = []
    begun: bool = False
    parts: list[LedgerHold] = []
    granted: int = 0
    usd: int = 0
    cost: int = 0
    capped: bool = False
    outcome: str = ""
    price: Price | None = None
    ask: Ask = _NOTHING
    error: str = ""
    sent: float = 0.0
    would_refuse: tuple[Refuser, ...] = ()
    size: int = UNCOUNTED
    whole: bool = True
    _counted: bool = False
    _degraded: bool = False

    @property
    def remote(self) -> bool:
        """Whether one of the ledgers is reached over a network for each verb."""
        for group in self.groups:  # every call for a coroutine comes by twice: without another call
            ledger = group.payer.ledger
            if ledger.remote and not ledger.at_hand:
                return True
        return False

    @property
    def shared(self) -> bool:
        """Whether one of the ledgers has a lock that another process may keep."""
        return any(group.payer.ledger.shared for group in self.groups)

    @property
    def id(self) -> str:
        """The charge's id at the first payer; "" before the call holds."""
        return self.parts[0].id if self.parts else ""

    @property
    def ended(self) -> bool:
        """Whether it is decided how the call ends: settled, released or charged, now or as soon as that can be done."""
        return bool(self.endings)

    def idle(self) -> bool:
        """Whether no lock that ending the call takes is held, by this thread or another."""
        if caps_lock.locked() or block_figures.cap_turns.busy() or counters.lock.locked():
            return False
        if not (self.span is None or span_attributes.unlocked(self.span)):
            return False
        return all(group.payer.ledger.idle() for group in self.groups)

    # -- bound

    def recount(self) -> bool:
        """Count the input with the model's tokenizer, once. True if that made it smaller."""
        if self._counted or self.request.elsewhere:
            return False
        if self.request.instead:
            counted = routed_request.counted_bound(self.request)
        else:
            counted = input_token_bound.counted_bound(self.request.body, self.request.model)
        self._counted = counted is not None
        if counted is None or counted >= self.size:
            return False
        self.size = counted
        return True

    def ask_for(self, request: Request) -> None:
        """Be a call for another request, such as one for another model."""
        self.request = request
        self.size, self._counted = UNCOUNTED, False

    def _degrade(self) -> None:
        """Be a call for a cheaper model, once, where a limit nears its end."""
        if not self._degraded:
            self._degraded = True
            self.ask_for(cheaper(self) or self.request)

    # -- hold

    def try_hold(self, timeout: float | None = None, *, queued: int = 0) -> Refusal | None:
        """Hold the bound on every account and cap, or on none.

        Args:
            timeout: seconds to wait for a ledger's lock; None for its own deadline, 0 for not at all.
            queued: how many calls wait, this one the first of them; 0 if it has not lined up.

        Returns:
            None when held, else the refusal.

        Raises:
            UnpricedModelError, UnattributedCallError, UnknownUserError, LedgerError
        """
        sharing = shared_caps.count
        if sharing:
            self.groups = with_shared_caps(self.groups, self.blocks)
        if degrading:
            self._degrade()
        ask = routed_request.bound(self) if self.request.instead else call_bound.bound(self)
        if queued > ask.share:
            # What is left is for all who wait; yet a share worth having finishes more answers than an equal one.
            ask = msgspec.structs.replace(ask, share=min(queued, MOST_SHARES))
        plans = self._plans(timeout)
        if self.price is None:
            cost_bound.require_price(self.request, self.blocks, self.groups, plans, self.at)
        try:
            if self.blocks:
                granted = block_hold.hold(self.blocks, id(self), self.request, ask, queued)
                if isinstance(granted, Refusal):
                    return granted
                if shared_caps.count != sharing:  # since its accounts were looked up: it may have to hold there as well
                    self._undo()
                    return self.try_hold(timeout, queued=queued)
                if granted < ask.most:
                    ask = msgspec.structs.replace(ask, most=granted)
            self.granted = ask.most
            for group in self.groups:
                hold = would_refuse.hold if group.soft else ledger_hold.hold
                refused = hold(self, group, plans.pop(0), ask, timeout, queued)
                if refused is not None:
                    self._undo()
                    return by_ledger(refused, group)
            self._held(ask)
        except BaseException:
            self._undo()
            raise
        if self.endings:  # given up by another thread meanwhile
            self._undo()
        return None

    def _plans(self, timeout: float | None) -> list[Plan | None]:
        """Where the call goes, by payer: all of them first, as making one may tell a block what others have spent."""
        plans: list[Plan | None] = []
        for group in self.groups:
            plan = group.plans.get((self.request.provider, self.request.model))
            if plan is None or self.at >= plan.expires:
                plan = ledger_hold.plan(group, self.request, self.at, timeout)
            plans.append(plan)
            for one in self.request.instead:  # now, as whoever takes this hold over may not ask a ledger for it
                ledger_hold.plan(group, one, self.at, timeout)
        return plans

    def _undo(self, timeout: float | None = None) -> None:
        """Give back what is held. It can be repeated, and done by two threads at once."""
        if self.blocks:
            block_hold.give_back(self.blocks, id(self))
        while self.parts:
            part = self.parts[0]
            part.undo(self.at, timeout)
            with contextlib.suppress(ValueError):  # another thread was faster
                self.parts.remove(part)
        if self.blocks:
            block_hold.wake(self.blocks)

    def _held(self, ask: Ask) -> None:
        """Everybody has agreed: the smallest grant counts."""
        granted = self.granted
        self.ask = ask
        self.usd = ask.usd - (-ask.usd_rate * granted // 1000)
        if not self.whole:
            most = self._most()
            self.capped = granted < most
            if self.capped:
                counters.clamp(self.request, self.groups)
                block_hold.count(self.blocks, clamped=1)
                call_reporting.note_clamped(self, most)
        for group in self.groups:
            if group.soft:
                group.payer.note_soft(group)
        if watching.count and self.blocks:
            for block, limit, news in block_hold.repeated_in(self.blocks, id(self)):
                call_reporting.note_repeated(self, block.payer, block.name, limit, refused=False, news=news)
        if self.groups[0].payer.semconv:
            self.sent = time.perf_counter()
        if granted < ask.most and self.blocks:  # the last step: undone, the call gives back what it asked for
            block_hold.shrink(self.blocks, id(self), self.usd, ask, granted)

    def _most(self) -> int:
        """The most that it could be granted if all accounts had room."""
        if self.request.spending is not None:
            return self.request.spending.most
        return (self.price.max_output_tokens if self.price is not None else None) or OUTPUT_UNKNOWN

    # -- run and settle

    def inside(self) -> Scope:
        """The scope in which this call is sent, from now on: whatever it takes inside is this call."""
        self.begun = True
        return Scope(self.groups, self.blocks, silent=True, call=self)

    def lose_attempt(self, reason: str, timeout: float | None = None) -> None:
        """The request was sent, nobody knows what became of it, and it is being sent again: a charge of its own."""
        guess = self.ask.guess(self.granted)
        if guess is not None:
            self.charge_apart(guess, reason, timeout)

    def charge_apart(self, used: Used, reason: str = "", timeout: float | None = None) -> None:
        """Charge something beside what this call is charged, and without a hold: it was spent before anybody knew.

        Args:
            used: what was used.
            reason: why nobody knows that for sure, or "".
            timeout: seconds to wait for a ledger's lock.
        """
        for part in self.parts:
            ledger_hold.charge_apart(part.group, self.request, self.at, used, reason, timeout)
        block_hold.charge(self.blocks, id(self), self.request, used)
        counters.charge(self.request, self.groups, used, 0, estimated=bool(reason))
        if reason:
            call_reporting.note_estimate(self, used.usd, f"{reason}: a charge of its own")
        for group in self.groups:
            if group.payer.alerts is not None:
                group.payer.alerts.charged(group, used.usd, self.span, timeout)

    def takes_over(self, request: Request) -> bool:
        """Whether this call's hold covers a request that an SDK makes inside it."""
        if self.request.instead:
            return self._goes_as(request)
        price = cost_bound.price_of(request, request.model)
        if not call_bound.covers(self, self.ask.most, self.granted, request, price):
            return False
        self.request, self.price = request, price
        self.begun = False
        return True

    def _goes_as(self, request: Request) -> bool:
        """Whether the hold of a request that a router sends on covers what it has become; then it is that from now."""
        place = routed_request.covered(self, request, self.ask, self.granted, counted=self._counted)
        if place is None:
            return False
        self.request, self.price, self.size, self.whole = request, place.price, place.size, place.whole
        self.ask, self.granted = place.ask, place.output
        self.capped = request.cap is None and place.output < place.ask.most
        self.begun = False
        return True

    def settle(self, answer: Answer, timeout: float | None = None) -> None:
        """The call has ended with a response: charge what it says, or the guess if it does not say."""
        if answer.error:
            self.release(timeout)
            return
        request, price = self.request, self.price
        usage = answer.usage or request.known
        if usage is None:
            if price is None or not price.flat or request.fees:
                self.estimate("the response does not say what it used", request.likely, answer, timeout)
                return
            usage = Usage()
        reason = ""
        if answer.model is not None and answer.model != request.model:
            price, reason = settlement.price_of_answer(request, price, answer.model, self.at)
        if price is None and request.fixed is not None:
            self.estimate(settlement.UNPRICED_TOKENS, usage, answer, timeout)
            return
        cost = 0
        sent, output = usage.input_tokens, usage.output_tokens
        if price is not None:
            unknown = ""
            if (
                usage.__class__ is Counts
                and request.tier is None
                and request.units == 1
                and not (price.stated or request.region or request.fees)
            ):  # tokens, and nothing else but the tier that served them
                cost = price.cost(usage, self.at)
                if usage.service_tier is not None:
                    unknown = settlement.unpriced(usage, price)
            else:
                cost, unknown = settlement.cost_of_answer(request, price, usage, answer, self.at)
            if unknown:
                reason, cost = unknown, max(cost, self.usd)
        if answer.attempts:
            sent, output = settlement.tokens_of(usage, answer)
        self._end((Used(cost, sent, output), reason, answer), timeout)

    def charge(self, usage: Counts | None = None, cost: int | None = None, timeout: float | None = None) -> None:
        """The caller says what the call used or cost (nano-USD)."""
        usage = usage or Usage()
        if cost is None:
            unknown = settlement.unpriced(usage, self.price)
            if self.price is None and self.request.fixed is not None:
                unknown = settlement.UNPRICED_TOKENS
            if unknown:
                self.estimate(unknown, usage, None, timeout)
                return
            cost = self._cost(usage)
        self._end((Used(cost, usage.input_tokens, usage.output_tokens), "", None), timeout)

    def _cost(self, usage: Counts) -> int:
        """Nano-USD for a usage, at the price of the model asked for."""
        return 0 if self.price is None else self.price.cost(usage, self.at)

    def estimate(
        self,
        reason: str,
        received: Counts | None = None,
        answer: Answer | None = None,
        timeout: float | None = None,
        *,
        most_output: int | None = None,
        least: int = 0,
    ) -> None:
        """Nobody says what the call cost: charge the most that it can have cost, and what was received at the least.

        Args:
            reason: why nobody says it.
            received: what has arrived, as far as it was counted.
            answer: what came of the answer.
            timeout: seconds to wait for a ledger's lock.
            most_output: the most output tokens that can have been billed; None for all that were held.
            least: nano-USD that it has cost for certain, whatever was held.
        """
        guess = self.ask.guess(self.granted if most_output is None else min(most_output, self.granted))
        if received is not None and received.total_tokens:
            cost = self._cost(received)
            if guess is None or cost > guess.usd or received.total_tokens > guess.input_tokens + guess.output_tokens:
                guess = Used(
                    max(cost, guess.usd if guess else 0),
                    max(received.input_tokens, guess.input_tokens if guess else 0),
                    max(received.output_tokens, guess.output_tokens if guess else 0),
                )
        if least > (guess.usd if guess is not None else 0):
            guess = msgspec.structs.replace(guess or Used(), usd=least)
        if guess is None:
            self.release(timeout)
        else:
            self._end((guess, reason, answer), timeout)

    def after_disconnect(self, *, ended: bool = False) -> str:
        """What is known of whether the provider goes on where the stream is left; unknown where nobody wants to know.

        Args:
            ended: True where the stream came to its end: then nobody goes on.
        """
        if any(group.payer.on_uncertain != "estimate" for group in self.groups):
            return after_disconnect.UNKNOWN
        return after_disconnect.STOPS if ended else after_disconnect.behaviour(self.request, self.price)

    def fail(self, error: BaseException, timeout: float | None = None, *, sent: bool = True) -> None:
        """The call has ended with an exception: released if it cannot have cost anything, else uncertain."""
        self.error = type(error).__qualname__
        kind = classify(error, self.handled) if sent else UNSENT
        if kind in (REFUSED, UNSENT):
            self.release(timeout)
        else:
            self.estimate(reason_of(error), timeout=timeout)

    def abandon(self) -> None:
        """The call is not sent after all, or another one in its place: give back what it may have got."""
        self.endings.append(_GIVEN_BACK)
        if self.endings[0] is _GIVEN_BACK and (self.parts or self.blocks):  # a refused call may have nothing
            self._undo(0)

    def release(self, timeout: float | None = None) -> None:
        """Nothing was spent."""
        self._end((None, "", None), timeout)

    def _end(self, ending: Ending, timeout: float | None, *, again: bool = False) -> None:
        """End the call, once: whoever comes second does nothing. What was interrupted goes on by the same ending.

        Args:
            ending: how it ends.
            timeout: seconds to wait for a ledger's lock.
            again: whether something other than a ledger's error was raised before: where that comes again, it is a
                driver's mistake, and no signal's handler.
        """
        used, reason, answer = ending
        try:
            try:  # first of all: an exception that strikes between two blocks is caught by none
                self.endings.append(ending)
                if self.endings[0] is not ending:
                    return
                for part in self.parts:
                    part.end(self.request, self.at, used, reason, timeout)
            except LedgerLockedError as error:
                if timeout == 0:
                    self.endings.clear()
                    raise
                self._keep(used, reason, error, timeout)
            except LedgerError as error:
                self._keep(used, reason, error, timeout)
            except Exception as error:
                if not again:
                    raise
                self._keep(used, reason, error, timeout)
            self.cost = 0 if used is None else used.usd
            if self.blocks:
                block_hold.end(self.blocks, id(self), used)
            if not self.outcome:
                self._tell_end(used, reason, answer, timeout)
        except BaseException as error:
            # Ctrl-C, such as while the ledger's lock was waited for: the charge must not go with it.
            if self.endings and self.endings[0] is ending and not (again and isinstance(error, Exception)):
                background_worker.enqueue(functools.partial(self._end, ending, None, again=True))
            raise

    def __del__(self) -> None:
        """End a call that all have forgotten: nobody else is at it any more."""
        if self.outcome or not (self.parts or self.blocks):  # as most end, without another call
            return
        if self.parts or any(id(self) in block.slot.holds for block in self.blocks):
            background_worker.enqueue(self._end_forgotten)  # a finaliser may take no lock

    def _end_forgotten(self) -> None:
        if any(part.id.partition(".")[0] != part.ledger.new_id().partition(".")[0] for part in self.parts):
            return  # its process goes on with it: this one is a child that was forked from it
        if self.endings:
            self.carry_on()
        elif self.begun:
            self.estimate(FORGOTTEN)
        else:
            self.abandon()

    def carry_on(self) -> None:
        """End the call as it was decided, where whoever decided it was interrupted."""
        if self.endings and self.endings[0] is _GIVEN_BACK:
            self._undo()
        elif self.endings and not self.outcome:
            self._end(self.endings[0], None)

    def _tell_end(self, used: Used | None, reason: str, answer: Answer | None, timeout: float | None) -> None:
        """Count how the call ended, and tell whoever wants to know."""
        cost = self.cost
        if used is None:
            self.outcome = "failed"
            counters.fail(self.request, self.groups)
        else:
            over = cost - self.usd
            counters.charge(self.request, self.groups, used, over, estimated=bool(reason))
            self.outcome = "estimated" if reason else "settled"
            if answer is not None and answer.id is not None:
                remember(answer.id, self.groups)
            if over > 0:
                call_reporting.note_overrun(self, cost, over)
            if reason:
                call_reporting.note_estimate(self, cost, reason)
        source = ""
        if self.sent:
            source = call_reporting.note_operation(self, used, answer, time.perf_counter() - self.sent)
        if self.span is not None:
            span_attributes.mark(self.span, self.outcome, cost, self.groups, source=source)
        if used is not None:
            for group in self.groups:
                alerts = group.payer.alerts
                if alerts is not None:
                    alerts.charged(group, cost, self.span, timeout)
            if self.would_refuse:
                would_refuse.record(self.would_refuse, self.request, self.at, used, timeout)

    def _keep(self, used: Used | None, reason: str, error: Exception, timeout: float | None) -> None:
        """Have what a ledger did not take wait for it; those behind it, which may be others, are tried."""
        if used is None:
            call_reporting.note_trouble(self.groups, "a hold is given back later", error)
        failed: Exception | None = error
        for part in self.parts:
            if part.ended:
                continue
            try:
                if failed is None:
                    part.end(self.request, self.at, used, reason, timeout)
            except LedgerError as later:
                failed = later
            if failed is not None:
                part.keep(self.request, self.at, used, reason, failed)
            failed = None
