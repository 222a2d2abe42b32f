"""Exceptions of signals' handlers, at any bytecode of the package that a call comes by."""

from __future__ import annotations

import _thread
import contextlib
import dis
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import budgeted

PACKAGE = os.path.dirname(budgeted.__file__) + os.sep
TESTING = os.path.join(PACKAGE, "testing") + os.sep
SIGNAL = signal.SIGUSR1


class Struck(Exception):
    """What a signal's handler raises that is no KeyboardInterrupt, such as one of a deadline."""


class Strike:
    """One exception of a signal's handler, at the bytecode of this number that the package's code runs.

    Args:
        number: of the bytecode, from 1 on.
        error: what the handler raises.
        at_once: False for a signal, whose handler runs as soon as the interpreter looks for one: behind calls, where
            functions begin, and between two rounds of a loop. True to raise at the bytecode itself, also where the
            interpreter never looks; but not while one of the package's locks is ``locked``, since it is by not looking
            between a ``with`` statement's block and its end that the interpreter has every lock given back.
        within: the only function whose bytecodes are counted; "" for all.
        locked: whether one of the package's locks is taken.

    Attributes:
        passed: how many bytecodes the package's code has run.
        where: file, line and function of the one that was struck; "" if there are fewer.
        interrupted: the function that the handler interrupted, and where in it; "" if no handler ran.
    """

    def __init__(
        self,
        number: int,
        error: type[BaseException] = KeyboardInterrupt,
        *,
        at_once: bool = False,
        within: str = "",
        locked: Callable[[], bool] = lambda: False,
    ) -> None:
        self.number, self.error, self.at_once, self.within, self.locked = number, error, at_once, within, locked
        self.passed = 0
        self.where = self.interrupted = ""

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Strike what runs inside, in this thread."""
        before = signal.signal(SIGNAL, self._handle)
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(None)
            signal.signal(SIGNAL, before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if frame is not None:
            self.interrupted = f"{frame.f_code.co_qualname} +{frame.f_lasti}"
        raise self.error

    def _enter(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not is_ours(frame.f_code) or self.within not in ("", frame.f_code.co_qualname):
            return None
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event != "opcode":
            return self._step
        self.passed += 1
        if self.passed < self.number or self.where or (self.at_once and (self.locked() or _does_nothing(frame))):
            return self._step
        code = frame.f_code
        self.where = f"{code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno} {code.co_qualname} +{frame.f_lasti}"
        sys.settrace(None)
        if self.at_once:
            raise self.error
        # By an operator: behind a call the interpreter would look for signals, and find this one in here.
        return +_signal


def _does_nothing(frame: FrameType) -> bool:
    """Whether the bytecode is none that anything can be raised at, and so in no ``try``, as the compiler knows that."""
    return frame.f_code.co_code[frame.f_lasti] == dis.opmap["NOP"]


class _Signal:
    """Sends the signal without a bytecode behind which the interpreter looks for one."""

    __pos__ = staticmethod(functools.partial(_thread.interrupt_main, SIGNAL))


_signal: Any = _Signal()

_ours: dict[CodeType, bool] = {}


def is_ours(code: CodeType) -> bool:
    """Whether code is the package's own."""
    found = _ours.get(code)
    if found is None:
        name = code.co_filename
        found = _ours[code] = name.startswith(PACKAGE) and not name.startswith(TESTING)
    return found
