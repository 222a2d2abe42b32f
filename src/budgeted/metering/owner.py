"""Who ends an open call, wherever an exception of a signal's handler or a cancellation has struck.

An owner is made before any ledger is asked, and knows the call before it holds. Whoever makes one wraps all that it
does with the call in one ``try``, and gives up what it owns if anything is raised. What even that misses, because a
second exception has struck it, the call itself has ended when it is collected.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import msgspec

from budgeted.errors import LedgerLockedError
from budgeted.ledger import background_worker
from budgeted.metering.call import Call
from budgeted.payers.scope import Offer, Scope, leave


class Owner(msgspec.Struct, eq=False):
    """Who is to end a call.

    Args:
        call: the open call; None before there is one.
        scope: which it made current, and nobody may find current any more when it has given up; None for none.
        offer: by which somebody inside may take the call over, and is its owner then; None for none.
        end: how the call ends, as soon as that is known.
    """

    call: Call | None = None
    scope: Scope | None = None
    offer: Offer | None = None
    end: Callable[[float | None], None] | None = None

    def give_up(self, error: BaseException) -> None:
        """End the call, if it is still open: given back if nothing was sent, else as one that failed.

        Args:
            error: what was raised.
        """
        if self.scope is not None:
            leave(self.scope)
        call = self.call
        if call is None:
            return
        if call.ended:
            if not call.outcome:
                background_worker.enqueue(call.carry_on)
        elif call.begun:
            end_anywhere(call, self.end or functools.partial(call.fail, error))
        else:
            self.give_back(error)

    def give_back(self, error: BaseException) -> None:
        """Give back what the call holds, if it is still open: it is not sent.

        Args:
            error: what was raised.
        """
        call = self.call
        if call is None:
            return
        if isinstance(error, GeneratorExit):  # of a finaliser, perhaps, which may take no lock
            background_worker.enqueue(call.abandon)
        else:
            call.abandon()


def end_anywhere(call: Call, end: Callable[[float | None], None]) -> None:
    """End a call here if no lock that this very thread may hold is in the way, else have it ended soon."""
    if call.ended:
        return
    if call.idle():
        try:
            end(0)
        except LedgerLockedError:
            pass
        else:
            return
    background_worker.enqueue(functools.partial(end, None))
