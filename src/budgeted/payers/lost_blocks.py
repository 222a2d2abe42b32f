"""Why a call has no payer: the block that it was meant for may have ended, or be open in another context, just now."""

from __future__ import annotations

import threading
import time
import weakref
from types import CodeType, FrameType

import msgspec

from budgeted.payers.calling_code import FOR_ITS_CALLER, opening_frame, place
from budgeted.payers.payer_interface import Payer

LATELY = 1.0
"""Seconds after which a block has nothing to do with a call any more."""


class _Seen(msgspec.Struct, frozen=True):
    """A block's place: the line is looked up only where somebody asks."""

    at: float
    code: CodeType
    instruction: int
    payer: weakref.ref[Payer]

    def lately(self, payer: Payer) -> float | None:
        """Seconds since then, unless they are too many, or it was somebody else's."""
        seconds = time.monotonic() - self.at
        return seconds if seconds < LATELY and self.payer() is payer else None

    @property
    def place(self) -> str:
        for start, end, line in self.code.co_lines():
            if start <= self.instruction < end and line is not None:
                return place(self.code, line)
        return place(self.code, self.code.co_firstlineno)


class _OfThread(threading.local):
    left: _Seen | None = None


_thread = _OfThread()

_entered: list[_Seen] = []
"""The block that a generator has entered last, in whatever thread."""


def note_left(frame: FrameType, payer: Payer) -> None:
    """A block has ended.

    Args:
        frame: of the code that leaves it, or of what does so for it.
        payer: whose block it is.
    """
    code = frame.f_code
    if code.co_name in FOR_ITS_CALLER:
        frame = opening_frame(frame)
        code = frame.f_code
    _thread.left = _Seen(time.monotonic(), code, frame.f_lasti, weakref.ref(payer))


def note_entered_in_generator(frame: FrameType, payer: Payer) -> None:
    """A block begins in a generator, which somebody may drive in another context than that of the calls it is for.

    Args:
        frame: the generator's.
        payer: whose block it is.
    """
    _entered[:] = [_Seen(time.monotonic(), frame.f_code, frame.f_lasti, weakref.ref(payer))]


def usual_reason(payer: Payer) -> str:
    """Why a call of the running code may have lost its user, and what to write instead; "" where nothing tells.

    Args:
        payer: who pays for the call.
    """
    left, entered = _thread.left, _entered[0] if _entered else None
    if entered is not None and left is not None and left.at > entered.at:
        entered = None
    if entered is not None and (seconds := entered.lately(payer)) is not None:
        return (
            f"a generator has entered a block {seconds:.3f} s before, at {entered.place}, in another thread or "
            f"context, such as a framework's for a sync dependency with `yield`: it is seen there alone. Make the "
            f"dependency async, or let a middleware of budgeted.integrations say who pays"
        )
    if left is not None and (seconds := left.lately(payer)) is not None:
        return (
            f"a block of this thread ended {seconds:.3f} s before, at {left.place}: what a function returns to be read "
            f"later, a generator or a streamed response, and what it leaves to a background task run after its block. "
            f"Write @budgeted(user) on the generator, open the block inside it, or give the task bind(fn); in a web "
            f"app, let a middleware of budgeted.integrations say who pays"
        )
    return ""
