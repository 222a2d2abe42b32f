"""Any sequence of verbs on a ledger, by processes that come and go, beside a plain model that is to say the same."""

from __future__ import annotations

import itertools
import operator
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import redis_server
from forking import forked
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from ledger_places import PLACES
from ledgers import ALICE, BOB, NEVER
from plain_model import BEGINNING, DAY, Call, PlainModel, check_invariants, day_of, require, require_equal

from budgeted.errors import LedgerError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import (
    CALLS,
    GLOBAL,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    TOKENS,
    UNITS,
    USD,
    Account,
    Amendment,
    LimitSpec,
)
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import STALE, Leg, Route
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.move_project import content, migrate
from budgeted.ledger.spending_records import Used
from budgeted.ledger.sql.ledger import SQLLedger

ROUTES = [(GLOBAL,), (GLOBAL, ALICE), (GLOBAL, BOB), (GLOBAL, ALICE, BOB)]
ACCOUNTS = st.sampled_from([GLOBAL, ALICE, BOB])
AMOUNTS = st.integers(0, 60)
LIMITS = {
    "usd": USD,
    "usd/day": USD,
    "tokens": TOKENS,
    "calls/day": CALLS,
    "input tokens": INPUT_TOKENS,
    "output tokens/day": OUTPUT_TOKENS,
    "rolling usd": USD,
    "rolling calls": CALLS,
    "rolling output tokens": OUTPUT_TOKENS,
}
MOST = {USD: 300, TOKENS: 200, CALLS: 12, INPUT_TOKENS: 200, OUTPUT_TOKENS: 400}
WINDOWS = {"rolling usd": 40, "rolling calls": 110, "rolling output tokens": 300}
"""Seconds. So few that whatever was not charged in the same second is forgotten on its own."""
KEPT = {"usd/day": 150, "output tokens/day": 100}
"""How much limits keep at most of what is left."""

HOLD_TIMEOUT = 150.0


@st.composite
def wanted_limits(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Some limits, their amounts, and what they keep of what is left."""
    names = draw(st.lists(st.sampled_from(sorted(LIMITS)), unique=True, max_size=3))
    return [
        (name, draw(st.integers(0, MOST[LIMITS[name]])), draw(st.sampled_from([0, KEPT.get(name, 0)])))
        for name in names
    ]


def needed(ask: Ask, output: int) -> tuple[int, ...]:
    """What a call needs of each unit."""
    return tuple(ask.need(unit, output) for unit in range(len(UNITS)))


class LedgerMachine(RuleBasedStateMachine):
    """Subclasses name the ``kind`` of place. ``tell`` hears of each example and step, and of each fault by its name."""

    kind: ClassVar[str]
    tell: ClassVar[Callable[[str], None]] = staticmethod(lambda what: None)

    calls = Bundle("calls")
    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.tell("example")
        self.now = BEGINNING
        self.folder = tempfile.TemporaryDirectory(prefix="machine")
        self.place = PLACES[self.kind](Path(self.folder.name), lambda: float(self.now), HOLD_TIMEOUT)
        self.model = PlainModel()
        self.dead: set[str] = set()
        self.numbers = itertools.count(1)
        for _ in range(2 if self.place.shared else 1):
            self.place.open()
        alices = [("usd/day", 100, 0), ("calls/day", 9, 0)]
        for name, limits in ((GLOBAL, [("usd", 200, 0)]), (ALICE, alices), (BOB, [])):
            self.give(name, limits)

    def teardown(self) -> None:
        self.place.close()
        self.folder.cleanup()

    @property
    def ledger(self) -> Any:
        """Each verb goes to the next process."""
        return self.place.turn()

    # -- words

    def specs(self, limits: list[tuple[str, int, int]], *, catches_up: bool = True) -> list[LimitSpec]:
        today, since = self.now // DAY * DAY, day_of(self.now) if catches_up else -1
        found = []
        for name, amount, keep in limits:
            unit = LIMITS[name]
            if name.endswith("/day"):
                found.append(LimitSpec(name, unit, amount, today, today + DAY, since, 0, keep, DAY if keep else 0))
            else:
                window = WINDOWS.get(name, 0)
                all_of_it = 0 if catches_up else -1
                step = self.now if window else 0
                found.append(LimitSpec(name, unit, amount, 0, NEVER, all_of_it, window, 0, step))
        return found

    def give(self, name: str, limits: list[tuple[str, int, int]], *, catches_up: bool = True) -> None:
        specs = self.specs(limits, catches_up=catches_up)
        self.ledger.set_limits(name, specs)
        self.model.set_limits(name, specs)

    def route(self, ledger: Any, names: tuple[str, ...], at: int) -> tuple[Route, dict[tuple[str, str], int]]:
        """A call's route at a time, and the periods that it counts in."""
        legs, versions, counts = [], [], {}
        day = at // DAY * DAY
        for name in names:
            account = ledger.read(name)
            versions.append(account.version)
            limits = tuple(
                (slot.limit, day, day + DAY) if slot.limit.endswith("/day") else (slot.limit, slot.start, slot.end)
                for slot in account.slots
            )
            counts.update({(name, limit): start for limit, start, _ in limits})
            legs.append(Leg(name, limits))
        return Route.make(legs, versions, day_of(at), "p", "m"), counts

    def there(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """A call's accounts, made if they are not there."""
        for name in names:
            if name not in self.model.accounts:
                specs = self.specs([])
                self.ledger.set_limits(name, specs, explicit=False, create=True)
                self.model.set_limits(name, specs)
        return names

    def try_to_hold(self, names: tuple[str, ...], ask: Ask, at: int) -> tuple[str, Any]:
        """Hold, and compare the answer; what is granted is noted."""
        ledger = self.ledger
        id = ledger.new_id()
        route, counts = self.route(ledger, self.there(names), at)
        answer = ledger.hold(id, route, ask, at)
        past = self.model.is_past(counts)
        require(9, (answer is STALE) == past, "a hold was answered with", answer)
        if past:
            return id, answer
        around = self.model.reservation_for(ask.within, names)
        most = needed(ask, ask.most)
        if isinstance(answer, Refused):
            require(1, not self.model.fits(counts, most, at, around), "refused what fits:", answer)
            return id, answer
        granted = needed(ask, answer.granted)
        require(1, self.model.fits(counts, granted, at, around), "granted", granted, "of", most, "on", counts)
        require_equal(1, (answer.usd, answer.tokens), granted[:2], "for a hold")
        call = Call(names, granted, at, counts, ask.guess(answer.granted))
        if around is not None:
            call.within = ask.within
            call.drawn = min(granted[USD], around.bound[USD]), min(granted[TOKENS], around.bound[TOKENS])
        elif not ask.within and not self.model.is_special(counts):
            # Nobody has asked how many of its tokens are of which kind.
            call.bound = (*granted[:3], granted[TOKENS], granted[TOKENS])
        self.model.hold(id, call)
        return id, answer

    def refused(self, number: int, verb: Callable[[], object], what: str) -> None:
        """A verb that must be an error."""
        try:
            answer = verb()
        except LedgerError:
            return
        require(number, False, what, "was answered with", answer)

    # -- the life of a hold

    @rule(target=calls, names=st.sampled_from(ROUTES), usd=AMOUNTS, tokens=AMOUNTS, free=st.booleans())
    def hold(self, names: tuple[str, ...], usd: int, tokens: int, free: bool) -> str:
        ask = Ask(usd=usd, tokens=tokens, uncertain_output=-1 if free else 0)
        return self.try_to_hold(names, ask, self.now)[0]

    @rule(target=calls, names=st.sampled_from(ROUTES), usd=AMOUNTS, most=st.integers(1, 400))
    def hold_clamped(self, names: tuple[str, ...], usd: int, most: int) -> str:
        ask = Ask(usd=usd, usd_rate=500, tokens=3, tokens_rate=1, least=20, most=most, whole=False, uncertain_output=10)
        return self.try_to_hold(names, ask, self.now)[0]

    @rule(targets=(calls, reservations), names=st.sampled_from(ROUTES), usd=AMOUNTS, tokens=AMOUNTS)
    def reserve(self, names: tuple[str, ...], usd: int, tokens: int) -> str:
        """Set so much aside for calls."""
        ledger = self.ledger
        id = ledger.new_id()
        route, counts = self.route(ledger, self.there(names), self.now)
        ask = Ask(usd=usd, tokens=tokens, uncertain_output=-1, within=id)
        answer = ledger.hold(id, route, ask, self.now)
        past = self.model.is_past(counts)
        require(9, (answer is STALE) == past, "a reservation was answered with", answer)
        if not past:
            fits = self.model.fits(counts, needed(ask, 0), self.now)
            require_equal(1, not isinstance(answer, Refused), fits, "for a reservation")
            if fits:
                self.model.hold(id, Call(names, (usd, tokens, 0, 0, 0), self.now, counts, within=id))
        return id

    @rule(target=calls, within=reservations, names=st.sampled_from(ROUTES), usd=AMOUNTS, tokens=AMOUNTS)
    def hold_within(self, within: str, names: tuple[str, ...], usd: int, tokens: int) -> str:
        ask = Ask(usd=usd, tokens=tokens, uncertain_output=0, within=within)
        return self.try_to_hold(names, ask, self.now)[0]

    @rule(target=calls, within=reservations, names=st.sampled_from(ROUTES), most=st.integers(1, 60))
    def hold_clamped_within(self, within: str, names: tuple[str, ...], most: int) -> str:
        ask = Ask(usd=2, usd_rate=700, tokens=3, tokens_rate=1, least=9, most=most, whole=False, within=within)
        return self.try_to_hold(names, ask, self.now)[0]

    @rule(id=reservations, usd=AMOUNTS)
    def reserve_again(self, id: str, usd: int) -> None:
        """It is the same while it was for that much, whatever calls have drawn since."""
        call = self.model.reservation(id)
        if call is None or not all(name in self.model.accounts for name in call.accounts):
            return
        ledger = self.ledger
        route, _ = self.route(ledger, call.accounts, self.now)
        ask = Ask(usd=usd, tokens=call.bound[TOKENS], uncertain_output=-1, within=id)
        if call.bound[USD] <= usd:
            answer = ledger.hold(id, route, ask, call.at)
            require_equal(5, (answer.usd, answer.tokens), call.bound[:2], "for the same reservation")
        else:
            self.refused(5, lambda: ledger.hold(id, route, ask, call.at), "less than was set aside")

    @rule(id=calls, more=st.integers(0, 1))
    def hold_again(self, id: str, more: int) -> None:
        call = self.model.calls.get(id)
        if call is None or call.within == id or not all(name in self.model.accounts for name in call.accounts):
            return
        self.tell("repeated verb")
        ledger = self.ledger
        route, _ = self.route(ledger, call.accounts, self.now)
        uncertain = -1 if call.guess is None else 0
        ask = Ask(usd=call.bound[USD] + more, tokens=call.bound[TOKENS], uncertain_output=uncertain)
        same = call.state == "open" and not more and call.guess in (None, Used(*call.bound[:2]))
        if same:
            answer = ledger.hold(id, route, ask, call.at)
            require(5, getattr(answer, "usd", None) == call.bound[USD], "the same hold was answered with", answer)
        else:
            self.refused(
                5, lambda: ledger.hold(id, route, ask, call.at), f"another hold of the id of a {call.state} one"
            )

    @rule(id=calls, usd=AMOUNTS, tokens=AMOUNTS, uncertain=st.booleans())
    def settle(self, id: str, usd: int, tokens: int, uncertain: bool) -> None:
        self.settle_by(
            lambda *args: self.ledger.settle(id, *args), id, Used(usd, tokens, 1), "why" if uncertain else ""
        )

    def settle_by(self, verb: Callable[..., object], id: str, used: Used, reason: str) -> None:
        call = self.model.calls.get(id)
        if call is None:
            require_equal(5, verb(used, self.now, reason), False, "for a hold that is unknown")
        elif call.state == "charged" and not call.uncertain and not reason and call.used != used:
            self.refused(5, lambda: verb(used, self.now, reason), f"another settle of {id}")
        else:
            require_equal(5, verb(used, self.now, reason), True, f"for settling a hold that is {call.state}")
            if call.state != "charged" or call.uncertain:
                self.model.end(id, used, self.now, reason)

    @rule(id=calls)
    def settle_again(self, id: str) -> None:
        call = self.model.calls.get(id)
        if call is not None and call.used is not None:
            self.tell("repeated verb")
            require_equal(5, self.ledger.settle(id, call.used, self.now, call.reason), True, "for a repeated settle")

    @rule(id=calls)
    def release(self, id: str) -> None:
        call = self.model.calls.get(id)
        is_open = call is not None and call.state == "open"
        require_equal(5, self.ledger.release(id, self.now), is_open, f"for a release of {id}")
        if is_open:
            self.model.end(id, None, self.now)

    @rule(id=calls, usd=AMOUNTS, tokens=AMOUNTS)
    def correct(self, id: str, usd: int, tokens: int) -> None:
        call = self.model.calls.get(id)
        known = call is not None and call.state != "open"
        before = self.ledger.correct(id, Used(usd, tokens, 2), self.now)
        require_equal(5, before is not None, known, f"for a correction of {id}")
        if call is not None and known:
            require_equal(5, before.used, call.used or Used(), f"for what {id} was before")
            changed = call.used != Used(usd, tokens, 2) or call.reason
            if changed:
                self.model.end(id, Used(usd, tokens, 2), self.now)

    @rule(target=calls, names=st.sampled_from(ROUTES), usd=AMOUNTS, reason=st.sampled_from(["", "why not"]))
    def post(self, names: tuple[str, ...], usd: int, reason: str) -> str:
        ledger = self.ledger
        id = ledger.new_id()
        route, counts = self.route(ledger, self.there(names), self.now)
        used = Used(usd, 1, 1)
        answer = ledger.post(id, route, used, self.now, reason)
        past = self.model.is_past(counts)
        require(9, answer is (STALE if past else True), "a post was answered with", answer)
        if not past:
            self.model.hold(id, Call(names, (0, 0, 0, 0, 0), self.now, counts, state="posted"))
            self.model.end(id, used, self.now, reason)
        return id

    @rule(id=calls, usd=AMOUNTS, reason=st.sampled_from(["", "late"]))
    def post_what_was_held(self, id: str, usd: int, reason: str) -> None:
        call = self.model.calls.get(id)
        if call is None or not all(name in self.model.accounts for name in call.accounts):
            return
        ledger = self.ledger
        route, _ = self.route(ledger, call.accounts, self.now)
        self.settle_by(lambda used, at, why: ledger.post(id, route, used, at, why), id, Used(usd, 2, 2), reason)

    # -- accounts

    @rule(name=ACCOUNTS, limits=wanted_limits(), catches_up=st.booleans())
    def set_limits(self, name: str, limits: list[tuple[str, int, int]], catches_up: bool) -> None:
        self.give(name, limits, catches_up=catches_up)

    @rule(name=ACCOUNTS, belongs_to=st.sampled_from([None, "", "u:team"]), stopped=st.sampled_from([None, "", "audit"]))
    def amend(self, name: str, belongs_to: str | None, stopped: str | None) -> None:
        change = Amendment(belongs_to, stopped)
        require_equal(7, self.ledger.amend(name, change), True, "for an amendment")
        self.model.amend(name, change)

    @rule(name=ACCOUNTS, limit=st.sampled_from(sorted(LIMITS)), amount=st.integers(1, 60), is_late=st.booleans())
    def raise_for_a_period(self, name: str, limit: str, amount: int, is_late: bool) -> None:
        today = (self.now // DAY - is_late) * DAY
        period = (today, today + DAY) if limit.endswith("/day") else (0, NEVER)
        change = Amendment(raised=(limit, amount, *period))
        may = self.model.may_raise(name, limit, period[0])
        require_equal(9, self.ledger.amend(name, change), may, "for a raised limit")
        if may:
            self.model.amend(name, change)

    @rule(name=ACCOUNTS)
    def reset(self, name: str) -> None:
        self.ledger.reset(name, self.now)
        self.model.reset(name)

    @rule(name=st.sampled_from([ALICE, BOB]))
    def delete(self, name: str) -> None:
        self.ledger.delete(name)
        self.model.delete(name)

    @rule(name=st.sampled_from([ALICE, BOB]), usd=AMOUNTS)
    def restore(self, name: str, usd: int) -> None:
        account = Account(name, 1, True, (), usd, 3 * usd, 1)
        restored = [account], (), ()
        if any(name in call.accounts for call in self.model.open()):
            self.refused(6, lambda: self.ledger.restore(*restored), "restoring an account with calls in flight")
        else:
            self.ledger.restore(*restored)
            self.model.delete(name)
            self.model.set_limits(name, [])
            self.model.accounts[name].total = [usd, 3 * usd, 1]

    # -- time

    @rule(tens=st.integers(1, 6))
    def time_passes(self, tens: int) -> None:
        self.now += 10 * tens  # in few steps, so that what ends at a moment is seen at that moment

    @rule(days=st.integers(1, 3))
    def days_pass(self, days: int) -> None:
        self.tell("rollover")
        self.now = (self.now // DAY + days) * DAY

    @rule(
        target=calls, names=st.sampled_from(ROUTES), usd=AMOUNTS, seconds=st.sampled_from([1, DAY // 2, DAY, 2 * DAY])
    )
    def hold_with_the_clock_set_back(self, names: tuple[str, ...], usd: int, seconds: int) -> str:
        self.tell("clock set back")
        return self.try_to_hold(names, Ask(usd=usd, uncertain_output=0), self.now - seconds)[0]

    @rule()
    def sweep(self) -> None:
        late = self.now - HOLD_TIMEOUT
        ended = 0
        for client in self.place.clients:
            ended += client.sweep()
        expected = 0
        for id, call in self.model.calls.items():
            if call.state == "open" and self.nobody_ends(id, call, late):
                self.model.end(id, call.guess, self.now, "nobody ended it" if call.guess else "")
                expected += 1
        require_equal(6, ended, expected, "holds that nobody ends:")

    # -- processes

    @precondition(lambda self: self.place.shared)
    @rule()
    def kill(self) -> None:
        self.tell("kill")
        self.dead.add(self.place.die())
        self.open_another()

    @precondition(lambda self: self.place.shared)
    @rule()
    def restart(self) -> None:
        self.tell("restart")
        self.dead.add(self.place.leave())
        self.open_another()

    def open_another(self) -> None:
        self.place.open()
        self.sweep_what_opening_swept()

    def sweep_what_opening_swept(self) -> None:
        """Opening a journal sweeps; all others are made to."""
        at_most = [id for id, call in self.model.calls.items() if call.state == "open"]
        late = self.now - self.place.clients[-1].hold_timeout
        for client in self.place.clients:
            client.sweep()
        for id in at_most:
            call = self.model.calls[id]
            if self.nobody_ends(id, call, late):
                self.model.end(id, call.guess, self.now, "nobody ended it" if call.guess else "")

    def nobody_ends(self, id: str, call: Call, late: float) -> bool:
        """Whether a hold is too old, or its process died. What is set aside for others is never too old."""
        return (call.at <= late and call.within != id) or id.partition(".")[0] in self.dead

    @precondition(lambda self: self.place.shared)
    @rule(usd=AMOUNTS)
    def fork(self, usd: int) -> None:
        """A child makes a call, leaves another open, and ends without a word."""
        self.tell("fork")
        names = self.there((GLOBAL, BOB))

        def child() -> str:
            ledger = self.place.clients[0]
            route, counts = self.route(ledger, names, self.now)
            answers = []
            for settled in (True, False):
                id = ledger.new_id()
                answer = ledger.hold(id, route, Ask(usd=usd, uncertain_output=0), self.now)
                granted = not isinstance(answer, Refused) and answer is not STALE
                answers.append((id, granted, settled))
                if granted and settled:
                    ledger.settle(id, Used(1, 1, 1), self.now)
            return msgspec.json.encode([answers, list(counts.items())]).decode()

        answers, pairs = msgspec.json.decode(forked(child), type=tuple[list[tuple[str, bool, bool]], list[Any]])
        counts = {(name, limit): start for (name, limit), start in pairs}
        for id, granted, settled in answers:
            fits = not self.model.is_past(counts) and self.model.fits(counts, (usd, 0, 1, 0, 0), self.now)
            require_equal(11, granted, fits, "for a forked child")
            if granted:
                self.model.hold(id, Call(names, (usd, 0, 1, 0, 0), self.now, dict(counts), Used(usd, 0, 0)))
                if settled:
                    self.model.end(id, Used(1, 1, 1), self.now)
            self.dead.add(id.partition(".")[0])
            self.place.mourn(id.partition(".")[0])

    @rule()
    def upkeep(self) -> None:
        background_worker.drain()
        self.ledger.flush()

    @rule()
    def nothing_is_wrong(self) -> None:
        """What is looked for is not found, and what is not lost is not written back."""
        ledger = self.ledger
        require_equal(4, ledger.damage(), [], "damage,")
        require_equal(5, ledger.repair(), 0, "what a repair wrote back,")

    @rule()
    def read_at_one_instant(self) -> None:
        """It is what the verbs say one by one."""
        found, ledger = self.ledger.everything(), self.ledger
        found.sort()
        require_equal(4, found.accounts, ledger.accounts(count=10**9), "accounts")
        require_equal(4, [one.id for one in found.holds], sorted(one.id for one in ledger.open_holds()), "holds")
        require_equal(4, found.charges, sorted(ledger.uncertain(), key=lambda one: one.id), "uncertain charges")
        key = operator.attrgetter("day", "account", "provider", "model")
        require_equal(4, found.rows, sorted(ledger.rollups(), key=key), "report rows")

    @rule(name=ACCOUNTS, days=st.integers(0, 3))
    def sum_what_is_uncertain(self, name: str, days: int) -> None:
        start, end = self.now - days * DAY, self.now + 1
        total: dict[str, int] = {}
        for call in self.model.calls.values():
            if call.uncertain and name in call.accounts and start <= call.at < end and call.used is not None:
                total["m"] = total.get("m", 0) + call.used.usd
        require_equal(2, self.ledger.uncertain_sums([(name, start, end)]), [total], f"uncertain of {name}")

    @precondition(lambda self: self.kind == "redis")
    @rule()
    def forget_the_scripts(self) -> None:
        with redis_server.shared().client() as client:
            client.script_flush()

    @rule(to=st.sampled_from(["memory", "sqlite"]))
    def move(self, to: str) -> None:
        """What another ledger takes over is the same, and goes on as here."""
        if self.model.open():
            return
        source = self.ledger
        target: Any = (
            MemoryLedger() if to == "memory" else SQLLedger(f"sqlite:///{self.folder.name}/{next(self.numbers)}")
        )
        try:
            migrate(source, target)
            here, there = list(content(source).comparable()), list(content(target).comparable())
            require_equal(4, there, here, "after it was moved")
        finally:
            target.close()

    @invariant()
    def invariants_hold(self) -> None:
        self.tell("step")
        check_invariants(self.ledger, self.model)


def machine(kind: str, tell: Callable[[str], None] = lambda what: None) -> type[LedgerMachine]:
    """The machine of a kind of ledger; ``tell`` hears of each example and step, and of each fault by its name."""
    return type(f"{kind.title().replace('-', '')}Machine", (LedgerMachine,), {"kind": kind, "tell": staticmethod(tell)})
