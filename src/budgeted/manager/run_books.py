"""The books of one run of a program: who pays for it, and what it has spent, whoever else uses the ledger meanwhile.

All calls of a run are charged to a keyed block of its own, and what a user spends in it to one more. So the ledger
knows what the run has spent, by model and by user, for children and for processes that were killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import math
import secrets
import time
from collections.abc import Sequence
from typing import cast

import msgspec

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import Slot, block_account, user_account
from budgeted.ledger.interface import all_accounts
from budgeted.ledger.limit_conversion import day_number, slot_of, spec
from budgeted.ledger.spending_records import RollupRow
from budgeted.manager import payers_as_text
from budgeted.manager.administrative_manager import Books
from budgeted.manager.balances import Balance, of_slot
from budgeted.manager.budget_manager import BudgetManager
from budgeted.manager.extracted_payers import accounts_of
from budgeted.manager.project_payer import ProjectPayer
from budgeted.money import format_usd
from budgeted.payers import scope as scopes
from budgeted.payers.cap_text import PLAIN, CapLike, read_cap
from budgeted.payers.carried_payers import CarriedAccount, carried_limits, enclosed
from budgeted.payers.scope import Scope, current
from budgeted.payers.sealed_text import mistaken
from budgeted.validation import check_user, refuse_amount


class Spent(msgspec.Struct):
    """What was charged under one heading, in nano-USD."""

    calls: int = 0
    usd: int = 0
    uncertain: int = 0

    def add(self, row: RollupRow) -> None:
        """Add what a report's row has."""
        self.calls += row.calls
        self.usd += row.usd
        self.uncertain += row.uncertain


class RunReport(msgspec.Struct, frozen=True):
    """What a run has spent.

    Args:
        whole: all of it.
        models: by model, the dearest first.
        users: by user, likewise; a call is charged to every user whose block it is made in.
        held: nano-USD that calls hold which have not ended.
        left: the limits that it had to keep to, each with whose it is.
    """

    whole: Spent
    models: dict[str, Spent]
    users: dict[str, Spent]
    held: int
    left: list[tuple[str, Balance]]


class RunBooks:
    """Who pays for a run.

    Args:
        books: of the project.
        user: who pays besides the global account; None for nobody in particular.
        cap: what the run may spend, in USD or any unit; None for no cap of its own.

    Raises:
        ValueError, TypeError: the user is no name, or the cap no amount.
    """

    def __init__(self, books: Books, user: str | None, cap: CapLike | None) -> None:
        self.key = f"run-{secrets.token_hex(6)}"
        refuse_amount(user, "--cap {}")
        self.user = None if user is None else check_user(user)
        self.cap = None if cap is None else read_cap(cap, lasting=True)
        self._account = block_account(self.key)
        # A day less, whatever time zone those who are charged here count days in.
        self._since = day_number(books.payer.clock(), dt.UTC) - 1

    def payers(self, books: Books, secret: str) -> str:
        """Who pays, as text for the environment of the run: besides those who pay for this process.

        Args:
            books: of the project.
            secret: by which the text is signed; "" for none.
        """
        payer = self._payer(books)
        return payers_as_text.written(self._scope(payer), payer, secret)

    def here(self, books: Books) -> tuple[BudgetManager, Scope]:
        """Who pays for what this process sends for the run: the same, with the account of the user's part in it.

        Args:
            books: of the project.

        Returns:
            The manager of the run's project in this process, and the payers.
        """
        payer = self._payer(books)
        apart = (payer, self.key)
        scopes.counted_apart.append(apart)
        try:
            return cast("BudgetManager", payer.front), self._scope(payer)
        finally:
            scopes.counted_apart.remove(apart)

    def carried(self, books: Books, text: str, secret: str) -> Scope:
        """Who pays for what a program of the run sends, that was started with payers of its own.

        Args:
            books: of the project.
            text: that tells of them, as `inject` has written it.
            secret: by which it is signed; "" for none.

        Raises:
            CarrierError: it is forged or damaged, or of a project that does not pay for the run.
        """
        told = payers_as_text.read(text, secret, time.time(), math.inf)
        ours = self._scope(self._payer(books)).groups
        known = {payers_as_text.place_of(one): one for one in cast("list[ProjectPayer]", [one.payer for one in ours])}
        payers = [known.get(one.place) for one in told.payers]
        if None in payers:
            raise mistaken(text, "is of a project that does not pay for this run")
        accounts = accounts_of(text, told, signed=True)
        return enclosed(None, tuple(one for one in payers if one is not None), tuple(accounts), told.innermost)

    def _scope(self, payer: ProjectPayer) -> Scope:
        accounts = [] if self.user is None else [CarriedAccount(0, user_account(self.user))]
        cap = None if self.cap is None else carried_limits(self.cap.limits)
        accounts.append(CarriedAccount(0, self._account, None, cap))
        return enclosed(current(), (payer,), tuple(accounts), 0)

    @staticmethod
    def _payer(books: Books) -> ProjectPayer:
        # That of a run around this one, if it is of the same project: two would charge the global account twice.
        payer, around = books.payer, current()
        for one in () if around is None else cast("list[ProjectPayer]", [group.payer for group in around.groups]):
            if (one.project_name, one.ledger) == (payer.project_name, payer.ledger):
                payer = one
        return payer

    def has_limits(self, books: Books) -> bool:
        """Whether anything is limited in it."""
        return self.cap is not None or books.payer.user_limits or bool(books.balances())

    def report(self, books: Books) -> RunReport:
        """What was spent until now. Calls of processes that have died are charged first."""
        books.ledger.sweep()
        whole, models, users = Spent(), dict[str, Spent](), dict[str, Spent]()
        of_user = f"{self._account} "
        for row in books.ledger.rollups(self._since):
            if row.account == self._account:
                whole.add(row)
                models.setdefault(row.model, Spent()).add(row)
            elif row.account.startswith(of_user):
                users.setdefault(row.account.removeprefix(of_user), Spent()).add(row)
        found = books.ledger.read(self._account)
        held = 0 if found is None else found.held
        left = self._left(books, () if found is None else found.slots)
        return RunReport(whole, _dearest_first(models), _dearest_first(users), held, left)

    def close(self, books: Books) -> None:
        """Have the ledger forget accounts that did nothing but count, once no process of the run is left.

        Their rows stay. A cap's account stays, too: a host that the payers were sent to may still spend of it.
        """
        ledger = books.ledger
        counting = [one.id for one in all_accounts(ledger, f"{self._account} ")]
        for account in (*counting, *([self._account] if self.cap is None else [])):
            found = ledger.read(account)
            if found is not None and not found.held:
                with contextlib.suppress(LedgerError):  # a call has begun meanwhile
                    ledger.delete(account)

    def _left(self, books: Books, slots: Sequence[Slot]) -> list[tuple[str, Balance]]:
        left = [("everybody", balance) for balance in books.balances()]
        if self.user is not None:
            left += [(self.user, balance) for balance in books.balances(self.user)]
        if self.cap is not None:
            now, tz = books.payer.clock(), books.payer.timezone
            if not slots:  # nothing was called
                slots = [slot_of(spec(limit, now, tz)) for limit in self.cap.limits]
            for slot in slots:
                balance = of_slot(slot, now, tz, {})
                if slot.limit == PLAIN.id:  # among amounts with cents
                    balance = dataclasses.replace(balance, text=format_usd(slot.amount))
                left.append(("this run", balance))
        return left


def _dearest_first(found: dict[str, Spent]) -> dict[str, Spent]:
    return dict(sorted(found.items(), key=lambda item: (-item[1].usd, item[0])))
