"""Amounts set aside, raises, what a day leaves for the next, teams and stops, against plain dictionaries."""

from __future__ import annotations

import contextlib
import contextvars
from collections import defaultdict
from typing import Any

import pytest
from clocks import DAY, NOON, Clock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from budgeted import BudgetExceededError, BudgetManager, BudgetStoppedError

USERS = ("alice", "bob", "carol")
TEAMS = ("team:search", "team:ads", "org:acme")
EVERYBODY = "everybody"
NAMES = (*USERS, *TEAMS, EVERYBODY)
names = st.sampled_from(NAMES)
users = st.sampled_from(USERS)
amounts = st.integers(0, 12)


class Account:
    """What the model knows of one account: whole USD per day."""

    def __init__(self) -> None:
        self.limit: int | None = None
        self.keep = 0
        self.carried = self.raised = self.spent = 0
        self.day: int | None = None

    def room(self) -> int:
        return 10**9 if self.limit is None else self.limit + self.carried + self.raised - self.spent

    def begin(self, day: int, held: int) -> None:
        """Have a later day begin with its first call, or a raise."""
        if self.limit is None or self.day is None or day == self.day:
            self.day = day if self.limit is not None else None
            return
        left = max(0, self.limit + self.carried - self.spent - held)
        self.carried = min(self.keep, left + (day - self.day - 1) * self.limit)
        self.raised = self.spent = 0
        self.day = day


class Budgets(RuleBasedStateMachine):
    """One manager, and dictionaries of what it should know."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(NOON)
        self.manager = BudgetManager("model", ledger="memory://", clock=self.clock, wait=0, alerts=())
        self.accounts = {name: Account() for name in NAMES}
        self.team: dict[str, str] = {}
        self.stopped: set[str] = set()
        self.ever: dict[str, int] = defaultdict(int)
        self.block: Any = None

    # -- the model

    @property
    def day(self) -> int:
        return int(self.clock.now // DAY)

    def payers(self, *names: str) -> list[str]:
        """Who pays for a call of these users: everybody, they, and whom they belong to, each once."""
        found = [EVERYBODY]
        for name in names:
            one: str | None = name
            while one is not None and one not in found:
                found.append(one)
                one = self.team.get(one)
        return found

    def aside(self, name: str) -> int:
        """What the block that is open has set aside of an account, in today's period."""
        if self.block is None or self.block["day"] != self.day or name not in self.block["payers"]:
            return 0
        return int(self.block["left"])

    def fits(self, payers: list[str], cost: int, drawn: int = 0) -> bool:
        for name in payers:
            self.accounts[name].begin(self.day, 0)
        return all(self.accounts[name].room() - self.aside(name) + drawn >= cost for name in payers)

    def charge(self, payers: list[str], cost: int) -> None:
        for name in payers:
            self.accounts[name].spent += cost if self.accounts[name].limit is not None else 0
            self.ever[name] += cost

    # -- what happens

    @initialize(limit=st.integers(5, 30))
    def begin(self, limit: int) -> None:
        self.set_limit(EVERYBODY, limit, 0)

    @rule(name=names, limit=st.integers(1, 15), keep=st.integers(0, 8))
    def give_limit(self, name: str, limit: int, keep: int) -> None:
        if self.accounts[name].limit is None and not self.ever[name] and self.block is None:
            self.set_limit(name, limit, keep)

    def set_limit(self, name: str, limit: int, keep: int) -> None:
        text = f"${limit}/day" + (f", keep up to ${keep}" if keep else "")
        self.manager.set_limits(self.public(name), text)
        account = self.accounts[name]
        account.limit, account.keep, account.day = limit, keep, self.day

    def public(self, name: str) -> str | None:
        return None if name == EVERYBODY else name

    @rule(days=st.integers(1, 3))
    def wait(self, days: int) -> None:
        if self.block is None:  # what is set aside ends with its period
            self.clock.now += days * DAY

    @rule(name=names, more=st.integers(1, 9))
    def raise_limit(self, name: str, more: int) -> None:
        account = self.accounts[name]
        if account.limit is None:
            with pytest.raises((ValueError, KeyError)):
                self.manager.top_up(self.public(name), more)
            return
        self.manager.top_up(self.public(name), more)
        account.begin(self.day, 0)
        account.raised += more

    @rule(user=st.sampled_from((*USERS, *TEAMS)), team=st.sampled_from((*TEAMS, None)))
    def assign(self, user: str, team: str | None) -> None:
        if self.block is not None:
            return
        if team is not None and user in self.payers(team):
            with pytest.raises(ValueError, match="cannot belong to"):
                self.manager.assign(user, team)
            return
        self.manager.assign(user, team)
        self.team.pop(user, None)
        if team is not None:
            self.team[user] = team

    @rule(name=names)
    def stop(self, name: str) -> None:
        self.manager.stop(self.public(name), reason="the model says so")
        self.stopped.add(name)

    @rule(name=names)
    def resume(self, name: str) -> None:
        self.manager.resume(self.public(name))
        self.stopped.discard(name)

    @rule(user=users, cost=amounts, less=st.integers(0, 5))
    def pay(self, user: str, cost: int, less: int) -> None:
        """A call outside the block, whatever is open: it may need less than it held."""
        payers = self.payers(user)
        fits, used = self.fits(payers, cost), max(0, cost - less)

        def call() -> None:
            with self.manager.budget(user), self.manager.hold(cost=cost) as held:
                held.settle(cost=used)

        self.do(lambda: contextvars.Context().run(call), payers, fits=fits or not cost)
        if (fits or not cost) and not self.stopped & set(payers):
            self.charge(payers, used)

    def do(self, call: Any, payers: list[str], *, fits: bool) -> None:
        if self.stopped & set(payers):
            # What does not fit into the block's own cap is refused by that, before the ledger is asked.
            with pytest.raises(BudgetStoppedError if fits else BudgetExceededError):
                call()
        elif not fits:
            with pytest.raises(BudgetExceededError):
                call()
        else:
            call()

    # -- a block that sets an amount aside

    @precondition(lambda self: self.block is None)
    @rule(user=users, cap=st.integers(1, 10))
    def enter(self, user: str, cap: int) -> None:
        payers = self.payers(user)
        if self.stopped & set(payers):
            return
        fits = self.fits(payers, cap)
        stack = contextlib.ExitStack()
        if not fits:
            with pytest.raises(BudgetExceededError):
                self.nest(stack, user, cap)
            stack.close()
            return
        self.nest(stack, user, cap)
        self.block = {"stack": stack, "user": user, "left": cap, "payers": payers, "day": self.day}

    def nest(self, stack: contextlib.ExitStack, user: str, cap: int) -> None:
        stack.enter_context(self.manager.budget(user))
        stack.enter_context(self.manager.budget(cap=cap, reserve=True))

    @precondition(lambda self: self.block is not None)
    @rule(cost=amounts, less=st.integers(0, 5))
    def pay_inside(self, cost: int, less: int) -> None:
        block = self.block
        payers = self.payers(block["user"])
        fits = cost <= block["left"] and self.fits(payers, cost, drawn=block["left"])
        used = max(0, cost - less)

        def call() -> None:
            with self.manager.hold(cost=cost) as held:
                held.settle(cost=used)

        self.do(call, payers, fits=fits or not cost)
        if (fits or not cost) and not self.stopped & set(payers):
            self.charge(payers, used)
            block["left"] -= used

    @precondition(lambda self: self.block is not None)
    @rule()
    def leave(self) -> None:
        self.block["stack"].close()
        self.block = None

    # -- what must hold

    @invariant()
    def balances_agree(self) -> None:
        for name, account in self.accounts.items():
            if account.limit is None:
                continue
            balance = self.manager.balance(self.public(name))
            if account.day == self.day:
                expected = (account.limit + account.carried + account.raised, account.spent, self.aside(name))
                assert (balance.limit, balance.spent, balance.held) == expected, name

    @invariant()
    def the_report_agrees(self) -> None:
        report = self.manager.report(by="user")
        for name in (*USERS, *TEAMS):
            assert (report[name].spent if name in report else 0) == self.ever[name]
        assert report.total.spent == self.ever[EVERYBODY]

    def teardown(self) -> None:
        if self.block is not None:
            self.block["stack"].close()
        self.manager.close()


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(max_examples=60, stateful_step_count=30)
