"""Requests of many threads that go to a server together: who comes during a round trip joins the next one.

Nobody waits to be joined. While nothing is under way, a request goes at once and alone, in its own thread. What comes
meanwhile is sent, in the order in which it came, by the first thread that looks when the way is free: nearly always
that of the first in line, which is woken then. No thread is kept in the background, and no lock over I/O.

A thread that leads may be struck by an exception of a signal's handler, or have its greenlet killed. It leaves what it
led without an answer to the next one. So a request may be sent twice, and has to be one that does nothing when it is
repeated, as those of ledgers are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from budgeted.ledger.weak_registry import WeakRegistry
from budgeted.system.forks import at_fork

Request = TypeVar("Request")
Answer = TypeVar("Answer")

_WAITS, _GOES, _ENDED = range(3)


class NotSentError(TimeoutError):
    """The deadline of a request came before it was sent: nothing was asked for."""


class _Place(Generic[Request, Answer]):
    """A request's place, from when it comes to when it has its answer.

    Attributes:
        state: whether it waits in line, goes with a round trip, or has its answer.
        sent: whether it has ever gone, so that the server may have seen it.
        bell: rung when its thread should look again.
    """

    __slots__ = ("answer", "bell", "request", "sent", "state")

    answer: Answer | Exception

    def __init__(self, request: Request) -> None:
        self.request = request
        self.state = _WAITS
        self.sent = False
        self.bell: SimpleQueue[None] = SimpleQueue()

    def ring(self) -> None:
        """Have its thread look again."""
        self.bell.put(None)


class Combiner(Generic[Request, Answer]):
    """Sends the requests of many threads with few round trips.

    Args:
        run: does one round trip, in the thread that leads it, with its own deadline. It returns an answer or an
            exception for each request, in their order; what it raises is everybody's.
        most: requests that go together.
        at_once: round trips that may be under way at a time. With more than one, a connection that hangs holds up only
            those that it carries, and a server that is far away is kept busy.
        errors: exceptions of ``run`` that are everybody's. Any other one is of the thread that led, and the others'
            requests are sent again.

    Example:
        >>> combiner = Combiner(lambda texts: [text.upper() for text in texts], 64)
        >>> combiner.call("a", time.monotonic() + 5)
        'A'
    """

    def __init__(
        self,
        run: Callable[[Sequence[Request]], Sequence[Answer | Exception]],
        most: int,
        *,
        at_once: int = 1,
        errors: tuple[type[Exception], ...] = (Exception,),
    ) -> None:
        self._run, self._most, self._at_once, self._errors = run, most, at_once, errors
        self._begin()
        _combiners.add(self)

    def _begin(self) -> None:
        """What belongs to this process alone."""
        self._lock = threading.Lock()
        self._line: list[_Place[Request, Answer]] = []
        self._led: dict[_Place[Request, Answer], list[_Place[Request, Answer]]] = {}
        self._inside: set[int] = set()

    def _begin_again(self) -> None:
        """Leave all that is under way to the parent, in a forked child; who forked in the middle of it asks anew."""
        before = [*self._line, *(one for led in self._led.values() for one in led)]
        self._begin()
        for one in before:
            one.state = _WAITS
            one.ring()

    def call(self, request: Request, deadline: float) -> Answer:
        """The answer to a request.

        Args:
            request: what ``run`` gets, perhaps with others.
            deadline: the ``time.monotonic()`` until which it waits to be sent, and for a round trip that another thread
                leads.

        Raises:
            NotSentError: it was not sent by then, and will not be.
            TimeoutError: it was sent, and nobody knows what has become of it.
            Exception: whatever ``run`` raised, or returned for it.
        """
        thread = threading.get_ident()
        if thread in self._inside:
            # A signal's handler, in the middle of a call that goes on only when it is through: perhaps one that leads.
            return _only(self._run((request,)))
        place: _Place[Request, Answer] = _Place(request)
        try:
            self._inside.add(thread)
            while place.state != _ENDED:
                if led := self._claim(place):
                    self._lead(led)
                    self._hand_over(place)
                elif place.state != _ENDED:
                    self._wait(place, deadline)
        except BaseException:
            try:
                self._hand_over(place, gone=True)
            except BaseException:  # a signal's handler has raised once more, just there
                self._hand_over(place, gone=True)
                raise
            raise
        finally:
            self._inside.discard(thread)  # at last: until here, a handler's calls must not ask for the lock
        return _only((place.answer,))

    def _claim(self, place: _Place[Request, Answer]) -> Sequence[_Place[Request, Answer]]:
        """Those at the head of the line, for this thread to lead them; none if it has to wait."""
        with self._lock:
            if place.state != _WAITS:
                return ()
            if place not in self._line:
                self._line.append(place)
            if len(self._led) >= self._at_once:
                return ()
            led = self._line[: self._most]
            # In this order: wherever a handler raises in between, what has left the line is found among what is led.
            self._led[place] = led
            for one in led:
                one.sent, one.state = True, _GOES
            del self._line[: self._most]
            return led

    def _lead(self, led: Sequence[_Place[Request, Answer]]) -> None:
        """Do a round trip for all of them."""
        answers: Sequence[Answer | Exception]
        try:
            answers = self._run([one.request for one in led])
        except self._errors as error:
            answers = [error] * len(led)
        for one, answer in zip(led, answers, strict=True):
            one.answer = answer
            one.state = _ENDED

    def _wait(self, place: _Place[Request, Answer], deadline: float) -> None:
        """Wait until there is something to be looked at."""
        left = deadline - time.monotonic()
        try:
            place.bell.get(timeout=min(max(left, 0.0), threading.TIMEOUT_MAX))
        except Empty:
            with self._lock:
                if place.state == _ENDED:
                    return
                if place in self._line:
                    self._line.remove(place)
                if not place.sent:
                    raise NotSentError("the deadline came before it was sent") from None
            raise TimeoutError("the deadline came before the answer") from None

    def _hand_over(self, place: _Place[Request, Answer], *, gone: bool = False) -> None:
        """Give up what is led from a place, and wake who can go on. Doing it again does no harm.

        Args:
            place: from which a round trip was led, or not.
            gone: whether its thread gives up the place, too, as it was struck, or its deadline has come.
        """
        with self._lock:
            if gone:
                place.state = _ENDED  # for whoever leads it: nobody waits for its answer any more
            led = self._led.get(place, ())
            left = [one for one in led if one.state != _ENDED and one is not place]
            if gone or left:
                self._line = left + [one for one in self._line if one not in left and one is not place]
            for one in left:
                one.state = _WAITS
            if self._line:
                self._line[0].ring()
            for one in led:
                if one is not place:
                    one.ring()
            if led:
                del self._led[place]


def _only(answers: Sequence[Answer | Exception]) -> Answer:
    """The answer, where there is one."""
    (answer,) = answers
    if isinstance(answer, Exception):
        raise answer
    return answer


_combiners: WeakRegistry[Combiner[Any, Any]] = WeakRegistry()


def _after_fork_in_child() -> None:
    # Of those that lead, wait or have the lock, only the thread that forked is there.
    for combiner in _combiners.alive():
        combiner._begin_again()  # noqa: SLF001


at_fork(after_in_child=_after_fork_in_child)
