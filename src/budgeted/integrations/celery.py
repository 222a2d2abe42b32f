"""Celery: a task's calls are charged to whoever has sent the task, from ``.delay()`` in a block to its run in a worker.

Three lines where the application is made, which its workers import as well::

    from budgeted.integrations import celery as budgeted_celery

    budgeted_celery.instrument()

A worker needs a manager of the same project, on a ledger that all of its processes share.
"""

from __future__ import annotations

import functools
import logging
from typing import Protocol

from celery import signals  # type: ignore[import-untyped]

from budgeted import api
from budgeted.errors import CarrierError
from budgeted.ledger.out_of_reach import OutOfReach
from budgeted.manager.administrative_manager import Books
from budgeted.manager.extracted_payers import Extracted
from budgeted.manager.payers_as_text import MAX_AGE
from budgeted.payers.scope import current
from budgeted.payers.sealed_text import NAME
from budgeted.validation import check_seconds

logger = logging.getLogger("budgeted")

_UID = "budgeted"


class _Request(Protocol):
    """What Celery knows of a task's message."""

    is_eager: bool

    def get(self, key: str) -> object: ...  # a header


class _Task(Protocol):
    """A task that is about to run."""

    request: _Request


_running: dict[str, Extracted] = {}
"""Who pays for the tasks that run in this process, by their ids."""


def instrument(*, max_age: float = MAX_AGE) -> None:
    """Have tasks take along who pays. Repeating it changes ``max_age``.

    Args:
        max_age: seconds that a task may wait, with its countdown, until it runs; the calls of one that has waited
            longer are refused.

    Raises:
        ValueError: ``max_age`` is no number of seconds.

    Example:
        >>> instrument(max_age=7 * 86_400)
    """
    seconds = check_seconds(max_age, "max_age")
    uninstrument()
    signals.before_task_publish.connect(_send, weak=False, dispatch_uid=_UID)
    signals.task_prerun.connect(functools.partial(_begin, max_age=seconds), weak=False, dispatch_uid=_UID)
    signals.task_postrun.connect(_end, weak=False, dispatch_uid=_UID)


def uninstrument() -> None:
    """Have tasks that are sent from now on take nobody along."""
    for signal in (signals.before_task_publish, signals.task_prerun, signals.task_postrun):
        signal.disconnect(dispatch_uid=_UID)


def _send(headers: dict[str, str] | None = None, **_: object) -> None:
    if headers is not None and current() is not None:
        api.inject(headers)


def _begin(task_id: str, task: _Task, max_age: float, **_: object) -> None:
    text = task.request.get(NAME)
    # What runs eagerly was sent nowhere: whoever has called it pays by the context.
    if text is not None and not task.request.is_eager:
        _running[task_id] = _payers(text, max_age).__enter__()


def _payers(text: object, max_age: float) -> Extracted:
    """Who pays for a task; where nobody can, somebody who refuses: Celery goes on after a signal's exception."""
    try:
        return api.extract({NAME: text}, max_age=max_age)
    except (CarrierError, TypeError) as error:
        logger.error("budgeted: the calls of a task are refused: %s", error)  # noqa: TRY400 - its text says it all
        return Extracted((Books(ledger=OutOfReach(str(error))).payer,))


def _end(task_id: str, **_: object) -> None:
    payers = _running.pop(task_id, None)
    if payers is not None:
        payers.__exit__(None, None, None)
