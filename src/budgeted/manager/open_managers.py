"""The open managers of this process, and which of them is the default one: it pays for calls outside every block."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar, cast

from budgeted import providers
from budgeted.ledger.interface import Ledger
from budgeted.ledger.opening import address_of
from budgeted.manager.project_payer import ProjectPayer
from budgeted.manager.stated_settings import Stated, stated
from budgeted.payers import scope
from budgeted.payers.carried_payers import described, enclosed
from budgeted.system.forks import at_fork
from budgeted.telemetry import instruments


class Manager(Protocol):
    """What is asked here of a manager."""

    payer: ProjectPayer

    @property
    def ledger(self) -> Ledger:
        """Where the balances are."""

    def ledger_address(self) -> str | None:
        """What other processes can open the ledger by; None if nothing."""

    def close(self) -> None:
        """Give up the ledger."""

    def reconfigure(self, **changes: object) -> None:
        """Change settings in place."""


logger = logging.getLogger("budgeted")

M = TypeVar("M", bound=Manager)

_open: weakref.WeakSet[ProjectPayer] = weakref.WeakSet()
_beside: weakref.WeakSet[ProjectPayer] = weakref.WeakSet()

STAND_IN, CONSTRUCTED, CONFIGURED, INHERITED = range(4)
"""How the default manager came about. One that stood in, or that the program was started with, gives way to the first
that the program makes itself; one that it constructed, to the one that it configures."""

_default: Manager | None = None
_rank = STAND_IN
_default_lock = threading.RLock()


def get_default(make: Callable[..., M]) -> M:
    """The default manager: the one ``configure`` made, else the first one constructed, else as its surroundings state.

    Where they state nothing, it is a new one in memory.

    Args:
        make: makes a manager, which registers itself.

    Raises:
        ValueError: what is stated makes no sense; the text tells where it stands.
        LedgerError: the ledger cannot be opened.
    """
    global _rank  # noqa: PLW0603
    if _default is not None:  # as nearly always, and then without a lock: decorated functions ask at each call
        return cast("M", _default)
    with _default_lock:
        if _default is None:
            found = stated()
            if found.says_anything:
                return _as_stated(make, found, {})
            found.register_prices()
            with not_by_the_application():
                make(ledger="memory://")
            _rank = STAND_IN
        return cast("M", _default)  # all managers of a process are made by one class


def check_stated() -> None:
    """Look whether the default manager can be made as its surroundings state, if there is none yet, and make none.

    Raises:
        ValueError: what is stated makes no sense; the text tells where it stands.
    """
    if _default is None:
        stated()


def make_as_stated(make: Callable[..., M]) -> M | None:
    """The default manager as the surroundings state, if there is none yet, and they state anything.

    Raises:
        ValueError, LedgerError: as :func:`get_default`.
    """
    with _default_lock:
        found = stated() if _default is None else None
        return _as_stated(make, found, {}) if found is not None and found.says_anything else None


def _as_stated(make: Callable[..., M], found: Stated, given: dict[str, object]) -> M:
    """Make the default manager of what is stated, and of what ``configure()`` was given."""
    global _default, _rank
    found.register_prices()
    with not_by_the_application():
        manager = make(**found.keywords(given))
    try:
        found.give_limits(manager.payer)
    except BaseException:  # else it would pay without the limits that it could not be given
        manager.close()
        raise
    _default, _rank = manager, CONFIGURED
    cover()
    return manager


def rank_of(manager: Manager) -> int | None:
    """How a manager came to be the default one; None if it is not."""
    with _default_lock:
        return _rank if _default is manager else None


def default_project() -> str | None:
    """The project of the default manager; None where there is none, or one that only stands in for it."""
    with _default_lock:
        return None if _default is None or _rank == STAND_IN else _default.payer.project_name


def put_first(manager: Manager, rank: int) -> None:
    """Have a manager be the default one as it was in the process that started this one, unless this one chose its own.

    Args:
        manager: which came from there.
        rank: how it came to be the default one there.
    """
    global _default, _rank
    with _default_lock:
        if _default is None or _rank != CONFIGURED:
            _default, _rank = manager, rank
            cover()


def configure_default(make: Callable[..., M], settings: dict[str, object]) -> M:
    """Make the manager that covers the calls outside every block, or change it in place.

    One that stood in, in memory, until somebody configured it gets the ledger that a new one would have. One that
    the application constructed is left alone. The one that the program was started with goes on paying where it is,
    and besides it one of another project or ledger, if the program configures that.

    Args:
        make: as for :func:`get_default`.
        settings: its keywords.
    """
    global _rank  # noqa: PLW0603
    with _default_lock:
        before = _default
        if before is None or _rank == CONSTRUCTED:
            made = _as_stated(make, stated(), settings)
            if before is not None and scope.inherited and _is_inherited(before):
                _pay_besides(made, before)
            return made
        manager = cast("M", before)
        if _rank == STAND_IN:
            found = stated()
            found.register_prices()
            manager.reconfigure(**{"ledger": None, **found.keywords(settings)})
            found.give_limits(manager.payer)
        elif not _is_elsewhere(manager, settings):
            manager.reconfigure(**_with_patterns(settings))
        elif _is_inherited(manager):
            made = _as_stated(make, stated(), settings)
            _pay_besides(made, manager)
            return made
        else:
            found = stated()
            limits = {} if "max_budget" in settings else {"max_budget": found.keywords({}).get("max_budget")}
            manager.reconfigure(**limits, **_with_patterns(settings))
            found.give_limits(manager.payer)
        _rank = CONFIGURED
        cover()
        return manager


def _with_patterns(settings: dict[str, object]) -> dict[str, object]:
    """What ``configure()`` was given to change, with the limits by patterns of names that a file states besides."""
    if "default_user_limits" not in settings:
        return settings
    return {name: value for name, value in stated().keywords(settings).items() if name in settings}


def _is_elsewhere(manager: Manager, settings: dict[str, object]) -> bool:
    """Whether settings name another project or ledger than a manager has."""
    project, ledger = settings.get("project_name"), settings.get("ledger")
    if project is not None and project != manager.payer.project_name:
        return True
    if ledger is None:
        return False
    address = address_of(ledger)
    return address is None or address != manager.ledger_address()


def _is_inherited(manager: Manager) -> bool:
    """Whether a manager pays for all that this process calls, since whoever started it said so."""
    if _rank == INHERITED:
        return True
    return any(group.payer is manager.payer for around in scope.inherited for group in around.groups)


def _pay_besides(manager: Manager, started_for: Manager) -> None:
    """Have a manager that the program has made pay for all its calls, besides those whom it was started for.

    One of the same project and ledger takes the place of theirs: else the global account would be charged twice.
    """
    payer, theirs = manager.payer, started_for.payer
    around = scope.inherited[0] if scope.inherited else scope.Scope((theirs.group,), payer=theirs)
    if (payer.project_name, payer.ledger) != (theirs.project_name, theirs.ledger):
        scope.inherit(scope.joined(around, payer, None, None))
        return
    scope.counted_apart[:] = [(payer if one is theirs else one, key) for one, key in scope.counted_apart]
    payers, accounts, _ = described(around)
    paying = [payer if one is theirs else one for one in payers]
    scope.inherit(enclosed(None, tuple(paying), accounts, paying.index(payer)))


@contextlib.contextmanager
def not_by_the_application() -> Iterator[None]:
    """Managers that are made inside follow from what was stated, or from the process that started this one."""
    _making.inner += 1
    try:
        yield
    finally:
        _making.inner -= 1


class _Making(threading.local):
    inner = 0


_making = _Making()


def _tell_of_unread(manager: Manager) -> None:
    """Say of limits that are stated, and that a manager which the application has constructed does not take."""
    try:
        where = stated().limiting()
    except ValueError as error:  # nothing of it counts here
        where = str(error)
    if where is not None:
        logger.warning(
            "budgeted: the limits that are stated (%s) do not hold for BudgetManager(%r), which takes what it is given "
            "alone; write configure(...) to have them kept",
            where,
            manager.payer.project_name,
        )


def register(manager: Manager, *, beside: bool = False) -> None:
    """Have a manager pay for calls of this process from now on, and show up in its metrics.

    Args:
        manager: which was made just now.
        beside: whether it is never the default one, and no part of the application, whose metrics leave it out.
    """
    global _default, _rank
    with _default_lock:
        _open.add(manager.payer)
        if beside:
            _beside.add(manager.payer)
        inherited = _default if _rank == INHERITED and not _making.inner else None
        if not beside and (_default is None or _rank == STAND_IN or inherited is not None):
            _default, _rank = manager, CONSTRUCTED
            cover()
            if inherited is not None:
                _pay_besides(manager, inherited)
            elif not _making.inner:
                _tell_of_unread(manager)
    providers.instrument()
    instruments.start(_measured_payers)


def unregister(manager: Manager) -> None:
    """Have a manager pay for nothing any more."""
    global _default  # noqa: PLW0603
    with _default_lock:
        _open.discard(manager.payer)
        if _default is manager:
            _default = None
            cover()


def cover() -> None:
    """Have the default manager pay for calls outside every block."""
    scope.cover(None if _default is None else _default.payer)


def open_payers() -> list[ProjectPayer]:
    """What pays for calls of this process."""
    return list(_open)


def _measured_payers() -> list[ProjectPayer]:
    return [payer for payer in _open if payer not in _beside]


def _after_fork() -> None:
    """A child has none of the threads that may have had the locks."""
    global _default_lock  # noqa: PLW0603
    _default_lock = threading.RLock()
    for payer in open_payers():
        payer.unlock()


at_fork(after_in_child=_after_fork)
