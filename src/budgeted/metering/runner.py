"""Running a call's steps in this thread, or for a coroutine beside its event loop.

The steps themselves are in :mod:`budgeted.metering.call`. Here is only who waits, and where: a thread blocks; a
coroutine never does, and hands what may block to an executor of this package's own.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context, get_current

from budgeted.errors import BudgetError, LedgerLockedError, UnattributedCallError
from budgeted.ledger import background_worker
from budgeted.metering.async_wakeup import bell
from budgeted.metering.call import Call
from budgeted.metering.owner import Owner, end_anywhere
from budgeted.metering.when_it_does_not_fit import negotiate, refuse_at_once
from budgeted.payers import scope as scopes
from budgeted.payers import swallowed_refusals
from budgeted.payers.block_figures import shared_caps
from budgeted.payers.scope import KEY, Offer, Scope, always, paying, with_shared_caps
from budgeted.system.forks import at_fork
from budgeted.telemetry import call_reporting
from budgeted.wire.normalized_request import Request

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")

_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def begin(request: Request, owner: Owner, scope: Scope | None = None, context: Context | None = None) -> Call | None:
    """Hold what a call may cost, waiting for its turn if need be.

    Args:
        request: what is asked.
        owner: who ends the call, and gives it up if anything is raised, from here as well.
        scope: who pays; None for the payers of the running code.
        context: the running code's, where the caller has it at hand.

    Returns:
        The open call; None where nothing is to be metered: no budget exists, or an outer layer meters already.

    Raises:
        BudgetExceededError: no room. Nothing was sent.
    """
    call = _open(request, owner, scope, context)
    if call is None or call.parts:
        return call
    try:
        refusal = call.try_hold()
    except BudgetError as error:
        _note_turned_away(call, error)
        raise
    if refusal is not None:
        refuse_at_once(call, refusal)
        # Not an Event, which takes a tenth of a call's time to make.
        turn: queue.SimpleQueue[None] = queue.SimpleQueue()
        steps = negotiate(call, refusal, functools.partial(turn.put, None), time.monotonic)
        try:
            try:
                while (seconds := next(steps, None)) is not None:
                    with contextlib.suppress(queue.Empty):
                        turn.get(timeout=min(seconds, threading.TIMEOUT_MAX))
                        while True:  # what else has rung counts once
                            turn.get_nowait()
            finally:  # Ctrl-C must not leave a place in the queue behind
                steps.close()
        except BaseException:  # which may have struck there
            steps.close()
            raise
    return call


async def begin_async(
    request: Request, owner: Owner, scope: Scope | None = None, context: Context | None = None
) -> Call | None:
    """The same for a coroutine: its event loop goes on meanwhile."""
    call = _open(request, owner, scope, context)
    if call is None or call.parts:
        return call
    try:
        refusal = await beside(call, call.try_hold, call.abandon)
    except BudgetError as error:
        _note_turned_away(call, error)
        raise
    if refusal is not None:
        refuse_at_once(call, refusal)
        turn = bell()
        steps = negotiate(call, refusal, turn.ring, turn.now)

        def step(_: float | None = None) -> float | None:
            return next(steps, None)

        def leave_queue() -> None:
            with contextlib.suppress(ValueError):  # a step still runs: when it is through, this is done again
                steps.close()

        try:
            while True:
                seconds = await beside(call, step, leave_queue, patient=True)
                if seconds is None:
                    break
                await turn.heard(min(seconds, 86_400))
        except GeneratorExit:  # a finaliser may close this coroutine while its thread is at the queues
            background_worker.enqueue(leave_queue)
            raise
        except BaseException:
            leave_queue()
            raise
    return call


def _note_turned_away(call: Call, error: BudgetError) -> None:
    """The call is not sent for another reason than the money: nobody knows its price, its user or its ledger."""
    call_reporting.note_turned_away(call.request, call.groups, error, call.span)
    swallowed_refusals.note(call.blocks, error)


def _open(request: Request, owner: Owner, scope: Scope | None, context: Context | None) -> Call | None:
    """The call that a request becomes here; one that is taken over holds already."""
    if context is None:
        context = get_current()
    if scope is None:
        around: Any = scopes.current() if scopes.finder else context.get(KEY)
        if around is None:
            if not scopes.outside:
                return None
            around = scopes.outside[0]
        elif around.silent:
            return None
        scope = around
    elif scope.unmetered:
        return None
    if scope.offer is not None and not scope.offer.takers:
        held = _taken_over(scope, scope.offer, request, owner)
        if held is not None:
            return held
    groups = paying(scope.groups) if always else scope.groups
    if not groups:  # a test run ends just now, whose accounts alone were charged
        return None
    for group in groups:
        if not group.attributed and group.payer.user_limits:
            try:
                group.payer.note_unattributed(request)
            except UnattributedCallError as error:
                swallowed_refusals.note(scope.blocks, error)
                raise
    # Asking for the current span costs more than seeing that nothing but a scope is in the context.
    span = trace.get_current_span(context) if len(context) > (KEY in context) else None
    clock = groups[0].payer.clock
    call = owner.call = Call(request, groups, scope.blocks, int(clock()), span, sys.exception())
    return call


def _taken_over(scope: Scope, offer: Offer, request: Request, owner: Owner) -> Call | None:
    """The hold that the function around made for this very request; given back if it is not for these payers."""
    held: Any = offer.call
    try:
        if not offer.take(owner):
            return None
        groups = paying(scope.groups) if always else scope.groups
        groups = with_shared_caps(groups, scope.blocks) if shared_caps.count else groups
        if held.groups == groups and held.blocks == scope.blocks and held.takes_over(request):
            owner.call = held
            return owner.call
        held.abandon()
    except BaseException:  # a signal's handler has raised: nobody else ends what was taken
        if offer.takers and offer.takers[0] is owner:
            held.abandon()
        raise
    return None


async def settled(call: Call, end: Callable[[float | None], None]) -> None:
    """End a call for a coroutine: ``end`` gets the timeout for the ledger's lock. Being cancelled does not stop it."""
    if isinstance(sys.exception(), GeneratorExit):
        end_anywhere(call, end)  # the coroutine is being closed, by a finaliser perhaps, and may not await any more
    else:
        await beside(call, end, None)


class Waiting(Protocol):
    """What a step is for that may have to wait for a ledger."""

    @property
    def remote(self) -> bool:
        """Whether one of its ledgers is reached over a network."""

    @property
    def shared(self) -> bool:
        """Whether one of its ledgers has a lock that another process may keep."""


async def beside(
    waiting: Waiting, step: Callable[[float | None], T], undo: Callable[[], None] | None, *, patient: bool = False
) -> T:
    """Run a step here if it cannot block, else in the executor.

    If this coroutine is cancelled, closed or interrupted meanwhile, ``undo`` runs when the step is through. A step
    without one is to be done whatever becomes of the coroutine.
    """
    if not (waiting.remote or (patient and waiting.shared)):
        try:
            return step(0)
        except LedgerLockedError:
            pass
    through = bell()
    submitted = False
    work: Future[T] = _future()

    def tell(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            through.ring()

    work.add_done_callback(tell)
    try:
        _executor().submit(_do, work, step)
        submitted = True
        await through.heard()
        return work.result()
    except BaseException:  # cancelled, closed with its task, or a signal's handler has raised
        if undo is None and not submitted:
            background_worker.enqueue(functools.partial(step, None))
        # In the executor's own thread: the loop may be gone by then.
        elif undo is None or not work.cancel():
            if undo is not None:
                work.add_done_callback(lambda done: done.exception() or undo())
            background_worker.goes_on(work)
        raise


def _do(work: Future[T], step: Callable[[float | None], T]) -> None:
    """Do a step for a coroutine that waits for ``work``, unless it has gone before."""
    if not work.set_running_or_notify_cancel():
        return
    try:
        work.set_result(step(None))
    except BaseException as error:  # noqa: BLE001 - it is the coroutine's
        work.set_exception(error)


def _future() -> Future[Any]:
    from concurrent.futures import Future

    return Future()


def _executor() -> ThreadPoolExecutor:
    global _pool  # noqa: PLW0603
    with _pool_lock:
        if _pool is None:
            from concurrent.futures import ThreadPoolExecutor

            _pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="budgeted-ledger")
        return _pool


def _after_fork() -> None:
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


at_fork(after_in_child=_after_fork)
