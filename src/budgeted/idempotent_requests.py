"""Requests that must not be done twice: who sends one again, under its key, gets the answer that it had."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

from budgeted.errors import LedgerError

ANSWERED = 10_000
"""How many answers are remembered."""


class AnswersByKey:
    """The answers to requests that were sent with a key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, ...], Future[object]] = OrderedDict()

    def once(self, key: tuple[str, ...], run: Callable[[], object], *, again: bool) -> object:
        """Do something that must not be done twice; who asks again under the same key gets the answer it had.

        Args:
            key: names the request.
            run: does it.
            again: it may have been done already, by a request under this key whose answer was lost.

        Raises:
            LedgerError: nobody here knows whether it was: this server was started since, or another one was asked.
        """
        with self._lock:
            known = self._answers.get(key)
            if known is None and again:
                msg = (
                    "the answer was lost, and this server does not know the request: it has been started again since, "
                    "or was never asked, so that it cannot tell whether this was done; look, and ask for it anew if it "
                    "was not: done twice, it could forget what was spent in between"
                )
                raise LedgerError(msg)
            # Whoever comes first does it; who sends it again meanwhile waits for the same answer below.
            answer = known or self._answers.setdefault(key, Future())
            if len(self._answers) > ANSWERED:
                self._answers.popitem(last=False)
        if known is None:
            try:
                answer.set_result(run())
            except BaseException as error:  # noqa: BLE001 - it is raised below, here and wherever it is waited for
                self._answers.pop(key, None)
                answer.set_exception(error)
        return answer.result()
