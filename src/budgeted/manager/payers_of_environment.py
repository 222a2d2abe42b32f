"""A program that was started by another one: what its environment says of who pays holds for all of its calls."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from budgeted.errors import BudgetError
from budgeted.ledger.out_of_reach import OutOfReach
from budgeted.manager import open_managers, part_of_run
from budgeted.manager.extracted_payers import VARIABLE, Extracted, accounts_of
from budgeted.manager.open_managers import INHERITED, Manager
from budgeted.manager.payers_as_text import NamedPayer, place_of, read
from budgeted.manager.project_payer import ProjectPayer
from budgeted.manager.stated_settings import stated
from budgeted.payers import scope as scopes
from budgeted.payers.purpose_tags import check_tags
from budgeted.payers.sealed_text import mistaken
from budgeted.providers import addresses_of_run

logger = logging.getLogger("budgeted")

_NOT_TOLD: Final = ("fsync", "metric_users")
"""Settings that the text says nothing of, and that are stated here as they were there."""

_kept: list[Manager] = []
"""The managers of those who pay for this process: nobody else keeps them."""


def go_on(environment: Mapping[str, str], make: Callable[..., Manager]) -> None:
    """Have the payers of an environment pay for all that this process calls, if it names any.

    The environment is trusted as whoever has started this process is: it names ledgers by other variables as well.
    Where nobody can pay by what it says, all calls are refused, and the log says why.

    Args:
        environment: such as ``os.environ``.
        make: makes a manager, which registers itself.
    """
    try:
        # By its own name alone: under CGI, what HTTP_* variables hold was written by whoever sent the request.
        text = environment.get(VARIABLE)
        if text is not None:
            addresses_of_run.put_back()
            with open_managers.not_by_the_application():
                _inherit(text, environment, make)
    except (BudgetError, ValueError, TypeError) as error:
        logger.error("budgeted: all calls of this process are refused: %s", error)  # noqa: TRY400 - its text says it all
        with open_managers.not_by_the_application():
            _first(make(ledger=OutOfReach(str(error))))


def _inherit(text: str, environment: Mapping[str, str], make: Callable[..., Manager]) -> None:
    secret = environment.get("BUDGETED_SECRET", "")
    # However old: a server that starts a worker after a week still does so for whoever started it.
    told = read(text, secret, time.time(), math.inf)
    found = stated()
    found.register_prices()
    own = {name: found.settings[name].value for name in _NOT_TOLD if name in found.settings}
    accounts = accounts_of(text, told, signed=True)
    tags = check_tags(found.settings["tags"].value) if "tags" in found.settings else {}
    managers = [_manager(text, _with_tags(one, tags), environment, partial(make, **own)) for one in told.payers]
    _kept.extend(managers)
    part_of_run.take_part(environment, [one.payer for one in managers])
    _first(managers[told.innermost])
    if accounts:
        payers: list[ProjectPayer] = [one.payer for one in managers]
        scopes.inherit(Extracted(tuple(payers), accounts, told.innermost).scope(None))


def _first(manager: Manager) -> None:
    """Have a manager be the default one: ``configure()`` changes it in place, and keeps its ledger."""
    open_managers.put_first(manager, INHERITED)


def _with_tags(named: NamedPayer, tags: Mapping[str, str]) -> NamedPayer:
    """A payer with the tags of this program, besides those of the one that has started it."""
    if not tags:
        return named
    return msgspec.structs.replace(
        named, settings={**named.settings, "tags": {**tags, **check_tags(named.settings.get("tags"))}}
    )


def _manager(text: str, named: NamedPayer, environment: Mapping[str, str], make: Callable[..., Manager]) -> Manager:
    where = named.ledger or environment.get("BUDGETED_LEDGER")
    if where is None:
        problem = "names no ledger, which is in memory there, or has a password; set BUDGETED_LEDGER to one for both"
        raise mistaken(text, problem)
    manager = make(named.project, ledger=where, **named.settings)
    if place_of(manager.payer) != named.place:
        manager.close()
        problem = "is of another ledger than BUDGETED_LEDGER names; set it to that of the process that injected it"
        raise mistaken(text, problem)
    return manager
