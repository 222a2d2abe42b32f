"""Any sequence of verbs against a plain model: the same answers, the same balances."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis_server
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from ledgers import ALICE, AT, BOB, check, cost, dump, give, route, usd

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Refused
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.redis.ledger import RedisLedger
from budgeted.ledger.spending_records import Used

ROUTES = [(GLOBAL,), (GLOBAL, ALICE), (GLOBAL, BOB), (GLOBAL, ALICE, BOB)]
AMOUNTS = st.integers(0, 60)


@dataclass
class Call:
    accounts: tuple[str, ...]
    bound: int
    state: str = "open"
    used: int = 0
    uncertain: bool = False


@dataclass
class Model:
    """What the books would say if nothing could go wrong."""

    limits: dict[str, int | None] = field(default_factory=lambda: {GLOBAL: 200, ALICE: 100, BOB: None})
    spent: dict[str, int] = field(default_factory=lambda: {GLOBAL: 0, ALICE: 0, BOB: 0})
    calls: dict[str, Call] = field(default_factory=dict)

    def held(self, account: str) -> int:
        return sum(call.bound for call in self.calls.values() if call.state == "open" and account in call.accounts)

    def fits(self, accounts: tuple[str, ...], amount: int) -> bool:
        return all(
            limit is None or self.spent[account] + self.held(account) + amount <= limit
            for account in accounts
            if (limit := self.limits[account]) is not None
        )

    def charge(self, call: Call, used: int) -> None:
        for account in call.accounts:
            self.spent[account] = max(0, self.spent[account] + used - call.used)
        call.state, call.used = "charged", used


class LedgerMachine(RuleBasedStateMachine):
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.ledgers = self.make()
        for account, amount in self.model.limits.items():
            give(self.ledgers[0], account, *([] if amount is None else [usd(amount)]))

    def make(self) -> list[Any]:
        return [MemoryLedger()]

    @property
    def ledger(self) -> Any:
        """Each verb goes to the next process."""
        self.ledgers.append(self.ledgers.pop(0))
        return self.ledgers[0]

    @rule(target=calls, accounts=st.sampled_from(ROUTES), amount=AMOUNTS)
    def hold(self, accounts: tuple[str, ...], amount: int) -> str:
        ledger = self.ledger
        id = ledger.new_id()
        result = ledger.hold(id, route(ledger, *accounts), cost(amount), AT)
        assert isinstance(result, Refused) != self.model.fits(accounts, amount)
        if not isinstance(result, Refused):
            self.model.calls[id] = Call(accounts, amount)
        return id

    @rule(id=calls)
    def hold_again(self, id: str) -> None:
        call = self.model.calls.get(id)
        if call is None:
            return
        ledger = self.ledger
        if call.state == "open":
            assert ledger.hold(id, route(ledger, *call.accounts), cost(call.bound), AT).usd == call.bound
        else:
            with pytest.raises(LedgerError):
                ledger.hold(id, route(ledger, *call.accounts), cost(call.bound), AT)

    @rule(id=calls, used=AMOUNTS, uncertain=st.booleans())
    def settle(self, id: str, used: int, uncertain: bool) -> None:
        call = self.model.calls.get(id)
        reason = "why not" if uncertain else ""
        if call is None:
            assert not self.ledger.settle(id, Used(used), AT, reason)
        elif call.state == "charged" and not call.uncertain and not uncertain and call.used != used:
            with pytest.raises(LedgerError):
                self.ledger.settle(id, Used(used), AT, reason)
        else:
            assert self.ledger.settle(id, Used(used), AT, reason)
            if call.state != "charged" or call.uncertain:
                self.model.charge(call, used)
                call.uncertain = uncertain

    @rule(id=calls)
    def release(self, id: str) -> None:
        call = self.model.calls.get(id)
        is_open = call is not None and call.state == "open"
        assert self.ledger.release(id, AT) == is_open
        if call is not None and is_open:
            call.state = "released"

    @rule(id=calls, used=AMOUNTS)
    def correct(self, id: str, used: int) -> None:
        call = self.model.calls.get(id)
        known = call is not None and call.state != "open"
        assert (self.ledger.correct(id, Used(used), AT) is not None) == known
        if call is not None and known:
            self.model.charge(call, used)
            call.uncertain = False

    @rule(target=calls, accounts=st.sampled_from(ROUTES), used=AMOUNTS)
    def post(self, accounts: tuple[str, ...], used: int) -> str:
        ledger = self.ledger
        id = ledger.new_id()
        assert ledger.post(id, route(ledger, *accounts), Used(used), AT) is True
        call = self.model.calls[id] = Call(accounts, 0)
        self.model.charge(call, used)
        return id

    @rule(account=st.sampled_from([GLOBAL, ALICE, BOB]), amount=st.none() | st.integers(0, 300))
    def limit(self, account: str, amount: int | None) -> None:
        before = self.model.limits[account]
        give(self.ledger, account, *([] if amount is None else [usd(amount, since=0)]))
        self.model.limits[account] = amount
        if before is None and amount is not None:
            # A new limit counts what the account was charged since its last reset.
            assert self.ledger.read(account).slots[0].spent == self.model.spent[account]

    @rule(account=st.sampled_from([GLOBAL, ALICE, BOB]))
    def reset(self, account: str) -> None:
        self.ledger.reset(account, AT)
        self.model.spent[account] = 0

    @rule(account=st.sampled_from([ALICE, BOB]), amount=st.none() | st.integers(0, 300))
    def make_anew(self, account: str, amount: int | None) -> None:
        self.ledger.delete(account)
        assert self.ledger.read(account) is None
        give(self.ledger, account, *([] if amount is None else [usd(amount, since=0)]))
        self.model.limits[account] = amount
        self.model.spent[account] = 0

    @invariant()
    def balances_agree(self) -> None:
        for account, limit in self.model.limits.items():
            found = self.ledger.read(account)
            assert (found.usd, found.held) == (self.model.spent[account], self.model.held(account))
            if limit is not None:
                [slot] = found.slots
                assert (slot.spent, slot.held) == (self.model.spent[account], self.model.held(account))
        doubtful = {id for id, call in self.model.calls.items() if call.uncertain and call.state == "charged"}
        assert {one.id for one in self.ledger.uncertain()} == doubtful
        check(self.ledger)


class JournalMachine(LedgerMachine):
    """Two processes and one that comes and goes, over one journal that rotates all the time."""

    def make(self) -> list[Any]:
        self.directory = tempfile.TemporaryDirectory()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", 7)
        # What somebody holds who went is looked at elsewhere.
        self.patch.setattr(JournalLedger, "sweep", lambda self: 0)
        return [JournalLedger(Path(self.directory.name) / "ledger") for _ in range(2)]

    @rule()
    def restart(self) -> None:
        before = dump(self.ledgers[0])
        self.ledgers.pop(0).close()
        self.ledgers.append(JournalLedger(Path(self.directory.name) / "ledger"))
        assert dump(self.ledgers[-1]) == before

    @rule()
    def snapshot(self) -> None:
        self.ledger.flush()

    def teardown(self) -> None:
        for ledger in self.ledgers:
            ledger.close()
        self.patch.undo()
        self.directory.cleanup()


class RedisMachine(LedgerMachine):
    """Two processes and one Redis, which forgets the scripts now and then."""

    def make(self) -> list[Any]:
        project = redis_server.new_project()
        return [RedisLedger(redis_server.shared().url, project) for _ in range(2)]

    @rule()
    def forget_the_scripts(self) -> None:
        with redis_server.shared().client() as client:
            client.script_flush()

    def teardown(self) -> None:
        for ledger in self.ledgers:
            ledger.close()


TestMemory = LedgerMachine.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=30)
TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=30, stateful_step_count=30)
TestRedis = RedisMachine.TestCase
TestRedis.settings = settings(max_examples=15, stateful_step_count=30)
