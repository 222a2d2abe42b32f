"""Payers that came along with a request or a message: found among this process's managers, and entered like a block."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec

from budgeted.ledger.accounts import account_kind, account_name, block_account, user_account
from budgeted.manager import open_managers
from budgeted.manager.open_managers import Manager
from budgeted.manager.payers_as_text import NamedPayer, NamedPayers, place_of, read
from budgeted.manager.project_payer import ProjectPayer
from budgeted.payers import scope as scopes
from budgeted.payers.carried_payers import CarriedAccount, enclosed
from budgeted.payers.generator_blocks import InGenerator, for_generator, leave_block
from budgeted.payers.hooks_in_place import fixtures
from budgeted.payers.payer_interface import Payer
from budgeted.payers.scope import Scope, current, enter
from budgeted.payers.sealed_text import NAME, mistaken
from budgeted.validation import check_name, check_user, shown

VARIABLE = "BUDGETED_PAYERS"
"""The variable of an environment that the text travels in."""


class Extracted:
    """Who pays by a carrier; made by :func:`budgeted.extract`. Works with ``with`` and ``async with``.

    Attributes:
        users: the users who pay inside, the outermost block's first; none where the carrier says nothing.
    """

    def __init__(
        self, payers: tuple[Payer, ...] = (), accounts: Sequence[CarriedAccount] = (), innermost: int = 0
    ) -> None:
        self._payers = payers
        self._accounts = tuple(accounts)
        self._innermost = innermost
        self._entered: list[Scope] = []
        self.users = tuple(account_name(one.account) for one in accounts if account_kind(one.account) == "user")

    def scope(self, parent: Scope | None) -> Scope | None:
        """The scope of the payers, inside another one."""
        return enclosed(parent, self._payers, self._accounts, self._innermost) if self._payers else parent

    def __enter__(self) -> Self:
        if not fixtures.intact():
            fixtures.restore()
        scope = self.scope(current()) if self._payers else None
        if scope is not None:
            scope = for_generator(scope, sys._getframe(1))  # noqa: SLF001 - the interpreter's own way to ask
            self._entered.append(scope)
            try:
                enter(scope)
            except BaseException:  # a signal's handler has raised: nobody leaves what was not entered
                self._leave(scope)
                raise
        return self

    def _leave(self, scope: Scope, *, closing: bool = False) -> None:
        leave_block(scope, closing=closing)
        self._entered.remove(scope)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope = current()
        if scope is None or scope not in self._entered:
            scope = next((one for one in reversed(self._entered) if isinstance(one, InGenerator)), None)
        if scope is not None:
            self._leave(scope, closing=kind is GeneratorExit)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def text_in(carrier: object) -> str | None:
    """The text in a carrier: headers in any case of letters, an environment, or a WSGI one; None if there is none.

    Raises:
        TypeError: it is no mapping, or maps to something else than text.
    """
    if not isinstance(carrier, Mapping):
        msg = f"extract takes a mapping of text to text, such as a request's headers, got {shown(carrier)}"
        raise TypeError(msg)
    for name, found in carrier.items():
        if isinstance(name, str) and name.lower().removeprefix("http_").replace("_", "-") == NAME:
            text = found.decode("latin-1") if isinstance(found, bytes) else found
            if not isinstance(text, str):
                msg = f"{name} must be text, got {shown(found)}"
                raise TypeError(msg)
            return text
    return None


def extracted(text: str, secret: str, max_age: float, make: Callable[..., Manager]) -> Extracted:
    """The payers that a text from elsewhere tells of.

    Args:
        text: as it came.
        secret: by which it has to be signed; "" where only users of a manager that is there are taken.
        max_age: seconds that may have passed since it was made.
        make: makes a manager, which registers itself.

    Raises:
        CarrierError: it is forged, stale, damaged or of another project.
    """
    default = scopes.by_default
    told = read(text, secret, default[0].clock() if default else time.time(), max_age)
    payers: list[ProjectPayer] = []
    for index, named in enumerate(told.payers):
        capped = any(one.cap is not None for one in told.accounts if one.payer == index)
        payer = _here(text, named, signed=bool(secret), make=make)
        if capped and place_of(payer) != named.place:
            problem = f"has a cap, which is kept in another ledger than that of project {shown(named.project)} here"
            raise mistaken(text, f"{problem}; name the same ledger= in both processes")
        payers.append(payer)
    return Extracted(tuple(payers), accounts_of(text, told, signed=bool(secret)), told.innermost)


def accounts_of(text: str, told: NamedPayers, *, signed: bool) -> list[CarriedAccount]:
    """The accounts that a text names. What is not signed softens nothing, nor draws on what others have set aside.

    Raises:
        CarrierError: one is none.
    """
    if not all(map(_is_account, told.accounts)):
        raise mistaken(text, "names an account that is none; it is not what inject() makes")
    return [one if signed else msgspec.structs.replace(one, policy=None, within="") for one in told.accounts]


def _is_account(one: CarriedAccount) -> bool:
    try:
        if one.account == block_account(check_name(one.account[2:], "key")):
            return True
        return one.limits is None and one.account == user_account(check_user(account_name(one.account)))
    except ValueError:
        return False


def _here(text: str, named: NamedPayer, *, signed: bool, make: Callable[..., Manager]) -> ProjectPayer:
    """The payer of a project here: of an open manager, else, if the text can be trusted, of a new one."""
    same = [one for one in open_managers.open_payers() if one.project_name == named.project]
    if same:
        return min(same, key=lambda one: (place_of(one) != named.place, one not in scopes.by_default))
    default = open_managers.default_project()
    if default is not None:
        problem = f"is of project {shown(named.project)}, and this process's is {shown(default)}"
        raise mistaken(text, f"{problem}; write BudgetManager({shown(named.project)}, ...) here, or leave it out")
    if not signed or named.ledger is None:
        problem = f"is of project {shown(named.project)}, of which there is no manager here"
        raise mistaken(text, f"{problem}; write configure(project_name={shown(named.project)}, ledger=...) first")
    return make(named.project, ledger=named.ledger, **named.settings).payer
