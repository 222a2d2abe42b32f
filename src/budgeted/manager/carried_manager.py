"""A manager, as a process that goes on with it is told of it: its project, its ledger's address and its settings."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import cast

import msgspec

from budgeted.errors import BudgetError
from budgeted.ledger.out_of_reach import OutOfReach
from budgeted.manager import open_managers
from budgeted.manager.open_managers import Manager
from budgeted.manager.project_payer import ProjectPayer
from budgeted.manager.settings import Settings
from budgeted.pricing import price_registry, tool_prices
from budgeted.pricing.registered_price import Registration
from budgeted.system.forks import at_fork
from budgeted.validation import shown

logger = logging.getLogger("budgeted")

_arrived: list[Manager] = []
"""Managers that came from another process: whoever made them is there, and nobody here keeps them but this."""

_carried: weakref.WeakKeyDictionary[ProjectPayer, tuple[object, CarriedManager]] = weakref.WeakKeyDictionary()
"""What was made of each manager lately, and of what: all tasks of a pool take the same."""

_left_out: set[tuple[str, ...]] = set()
"""Managers' tokens, each with the settings of which the application was told that they do not pickle."""

_prices: list[bytes] = []
"""The prices that this process has taken over last."""


class CarriedManager(msgspec.Struct, frozen=True):
    """What is told of a manager. It pickles, whatever its settings are.

    Args:
        make: makes a manager; it registers itself.
        token: of its payer.
        process: the process that tells of it, by its pid.
        project: the namespace in the ledger.
        ledger: the ledger's address; None where there is none that another process could use.
        place: where that is.
        problem: why a process that has no such manager must refuse its calls; "" where it can make one.
        fsync: ``"background"`` or ``"always"``.
        settings: by name, each pickled: one that cannot be unpickled leaves the others as they are.
        rank: how it came to be the default manager; None if it is not.
        prices: what the application has registered, pickled.
        tools: what calls of tools cost, in nano-USD, by their names.
    """

    make: Callable[..., Manager]
    token: str
    process: int
    project: str
    ledger: str | None
    place: str | None
    problem: str
    fsync: str
    settings: dict[str, bytes]
    rank: int | None
    prices: bytes
    tools: dict[str, int]

    def arrive(self) -> ProjectPayer:
        """The payer of the manager here: that of one which is open already, else of a new one."""
        with _arriving:
            _refuse_copies()
            if _prices != [self.prices]:
                price_registry.take_over(cast("list[Registration]", _unpacked(self.prices)))
                _prices[:] = [self.prices]
            tool_prices.take_over(self.tools)
            manager = self._found() or self._made()
        if self.rank is not None:
            open_managers.put_first(manager, self.rank)
        return manager.payer

    def _found(self) -> Manager | None:
        """The manager that this process has, as it was forked, has made the same one, or was told of it before."""
        here = open_managers.open_payers()
        for payer in here:
            if payer.token == self.token:
                return manager_of(payer)
        for payer in here:
            manager = manager_of(payer)
            if (payer.project_name, payer.ledger.place) == (self.project, self.place) and manager not in _arrived:
                payer.token = self.token
                if self.place is None and self.process != os.getpid():  # each in its own memory
                    _out_of_reach(manager, self.problem)
                return manager
        return None

    def _made(self) -> Manager:
        with open_managers.not_by_the_application():
            return self._made_of({name: value for name, value in map(self._read, self.settings) if value is not None})

    def _made_of(self, settings: dict[str, object]) -> Manager:
        problem = self.problem
        manager: Manager | None = None
        if not problem:
            try:
                manager = self.make(self.project, ledger=self.ledger, fsync=self.fsync, **settings)
            except (BudgetError, ValueError) as error:
                problem = f"the ledger that the process was started with cannot be opened in it: {error}"
        if manager is None:
            manager = self.make(self.project, ledger=OutOfReach(problem), **settings)
        manager.payer.token = self.token
        _arrived.append(manager)
        return manager

    def _read(self, name: str) -> tuple[str, object]:
        try:
            return name, _unpacked(self.settings[name])
        except Exception as error:  # noqa: BLE001 - whatever a module of the application raises as it is imported
            logger.warning("budgeted: %s of %r is left out in this process: %s", name, self.project, error)
            return name, None


_arriving = threading.RLock()


def _after_fork() -> None:
    """A child has none of the threads that may have had the lock."""
    global _arriving  # noqa: PLW0603
    _arriving = threading.RLock()


at_fork(after_in_child=_after_fork)


def carry(make: Callable[..., Manager], manager: Manager, where: object, fsync: str) -> CarriedManager:
    """What another process is told of a manager.

    Args:
        make: makes another such manager.
        manager: which it is about.
        where: its ``ledger=`` argument.
        fsync: how its ledger was opened.
    """
    payer = manager.payer
    rank, prices, tools = open_managers.rank_of(manager), price_registry.registered(), tool_prices.registered()
    made_of = payer.settings, payer.ledger, payer.project_name, rank, prices, tools, os.getpid()
    before = _carried.get(payer)
    if before is not None and before[0] == made_of:
        return before[1]
    problem = payer.ledger.problem if isinstance(payer.ledger, OutOfReach) else ""
    address = None if problem else manager.ledger_address()
    if address is None and not problem:
        problem = _unnamed(payer.project_name, where)
    made = CarriedManager(
        make=make,
        token=payer.token,
        process=os.getpid(),
        project=payer.project_name,
        ledger=address,
        place=payer.ledger.place,
        problem=problem,
        fsync=fsync,
        settings=_pickled(payer),
        rank=rank,
        prices=_packed(prices),
        tools=tools,
    )
    _carried[payer] = made_of, made
    return made


def _out_of_reach(manager: Manager, problem: str) -> None:
    """Have a manager refuse all calls of this process.

    Args:
        manager: which cannot pay here.
        problem: why, and what to do.
    """
    manager.reconfigure(ledger=OutOfReach(problem))


def _refuse_copies() -> None:
    """Have managers refuse all calls whose ledger is in memory, if this process was forked, and has but a copy."""
    for payer in open_managers.open_payers():
        if payer.process != os.getpid() and payer.ledger.place is None and not isinstance(payer.ledger, OutOfReach):
            _out_of_reach(manager_of(payer), _unnamed(payer.project_name, "memory://"))


def _pickled(payer: ProjectPayer) -> dict[str, bytes]:
    """Each setting that is not as it is by default; the application is told once of those that do not pickle."""
    plain, found, left_out = Settings(), {}, []
    for name in Settings.__struct_fields__:
        value = getattr(payer.settings, name)
        if value is getattr(plain, name) or value == getattr(plain, name):
            continue
        try:
            found[name] = _packed(value)
        except Exception:  # noqa: BLE001 - whatever its class raises
            left_out.append(name)
    if left_out and (payer.token, *left_out) not in _left_out:
        _left_out.add((payer.token, *left_out))
        logger.warning(
            "budgeted: %s of project %r cannot be pickled, so processes that are started from here go on without",
            " and ".join(left_out),
            payer.project_name,
        )
    return found


def _packed(value: object) -> bytes:
    import pickle  # not before a process is started: importing the package is to be quick

    return pickle.dumps(value)


def _unpacked(packed: bytes) -> object:
    import pickle

    return pickle.loads(packed)  # noqa: S301 # nosec B301 - it comes from the process that started this one


def manager_of(payer: ProjectPayer) -> Manager:
    """The manager that an open payer is a part of."""
    return cast("Manager", payer.front)


def _unnamed(project: str, where: object) -> str:
    """Why other processes must refuse the calls of a project whose ledger has no address, and what to do."""
    if isinstance(where, str):
        kind = "in the memory of the process that started this one"
    elif where is None:
        kind = "behind LiteLLM's protocol, which takes but one writer"
    else:
        kind = f"an object of the process that started this one ({type(where).__name__})"
    return (
        f"the ledger of project {shown(project)} is {kind}, so nobody can pay for calls here; name one there that both "
        f"can open, such as ledger='./spend', 'postgresql+psycopg://...' or 'redis://...'"
    )
