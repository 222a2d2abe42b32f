"""Exceptions of signals' handlers at every bytecode of every kind of call, and cancellations at every await.

A real signal is sent between two bytecodes of the package's code, or an exception raised at the bytecode itself, which
is more than the interpreter does. Afterwards no hold, no part of a block's cap, no place in a queue and no lock is
left, the charges are at least what the provider has billed, and the next call works.

Not tried: a second exception while the first one is being dealt with. What that strikes ends when its traceback is
forgotten. As ``__exit__`` begins, an exception has any ``with`` statement's end do nothing: a block stays current then.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import sys
import warnings
from collections.abc import Iterator

import interrupted_calls as calls
from calls_of_every_kind import WAYS, Place
from interrupting import Strike, Struck
from opentelemetry.context import attach
from sliced_ledgers import eager, sliced

from budgeted.testing import SimulatedProvider
from proof.trial import Case, Trial

SHORT, LONG = 15.0, 480.0

WHOLE = {"hold": 1, "plain": 1, "stream": 2}
"""Ways of which the long form strikes each bytecode with a signal, or each second one, on a ledger in memory."""

SHORT_SAMPLE = 3
"""Strikes of each way in the short form, and cancellations."""

KINDS = {
    "a signal": functools.partial(Strike),
    "an exception at a bytecode": functools.partial(Strike, at_once=True),
    "another exception at a bytecode": functools.partial(Strike, error=Struck, at_once=True),
}


def run(trial: Trial) -> None:
    """Strike every kind of call, on a ledger in memory, on slices of one, and on a journal."""
    logging.getLogger("budgeted").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None  # it may strike in a finaliser
    ledgers = {"memory": "memory://", "sliced": sliced(), "journal": str(trial.directory / "ledger")}
    with SimulatedProvider() as provider, eager():
        for name, share in (("memory", 0.3), ("sliced", 0.45), ("journal", 0.6)):
            if trial.only is not None and not trial.only.startswith(name):
                continue
            place = Place(provider, ledger=ledgers[name])
            gc.collect()
            gc.freeze()  # the SDKs: each case collects what it has left
            with contextlib.closing(place):
                for way in WAYS:
                    if not trial.long or (way in WHOLE and name == "memory"):
                        _strike(trial, place, f"{name} {way}", way)
                    if "async" in way or way == "executor":
                        _cancel(trial, place, f"{name} {way} cancelled", way)
                if trial.long:
                    trial.random_cases(f"{name} anywhere", functools.partial(_anywhere, place, {}), share)


def _strike(trial: Trial, place: Place, subject: str, way: str) -> None:
    """A signal all along a way; in the short form, exceptions of every kind at some of them."""
    if not trial.wants(subject):
        return
    numbers = range(1, calls.length(place, WAYS[way]) + 1, WHOLE[way] if trial.long else 1)
    items = [(kind, number) for kind in ([*KINDS][:1] if trial.long else KINDS) for number in numbers]
    trial.each_case(subject, items, lambda case, item: _struck(place, way, *item, case), SHORT_SAMPLE)


def _anywhere(place: Place, lengths: dict[str, int], case: Case) -> None:
    """An exception of any kind at any bytecode of any way."""
    way, kind = case.rng.choice([*WAYS]), case.rng.choice([*KINDS])
    if way not in lengths:
        lengths[way] = calls.length(place, WAYS[way])
    _struck(place, way, kind, 1 + int(case.rng.random() * lengths[way]), case)


def _struck(place: Place, way: str, kind: str, number: int, case: Case) -> None:
    strike = KINDS[kind](number)
    strike.locked = place.locked
    case.fault(kind, f"{way} at bytecode {number}")
    with _as_it_was(place):
        calls.struck(place, WAYS[way], strike)


def _cancel(trial: Trial, place: Place, subject: str, way: str) -> None:
    """A cancellation at each await of a way."""
    if trial.wants(subject):
        items = range(1, calls.awaits(place, WAYS[way]) + 1)
        trial.each_case(subject, items, functools.partial(_cancelled, place, way), SHORT_SAMPLE)


def _cancelled(place: Place, way: str, case: Case, number: int) -> None:
    case.fault("a cancellation", f"{way} at its await {number}")
    with _as_it_was(place):
        calls.cancelled(place, WAYS[way], number)


@contextlib.contextmanager
def _as_it_was(place: Place) -> Iterator[None]:
    """Leave nothing of a case that went wrong to the next one."""
    try:
        yield
    except BaseException:
        attach(place.context)
        gc.collect()
        calls.settled(place)
        for held in place.manager.ledger.open_holds():
            place.manager.ledger.release(held.id, 0)
        raise
