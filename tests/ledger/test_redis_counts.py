"""The arithmetic in Lua is that of `admit`, to the unit, up to the largest amounts that a limit may have."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import msgspec
import pytest
import redis_server
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ledgers import ALICE, AT, BOB, NEVER, charge, cost, give, hold, route, usd

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import CALLS, GLOBAL, UNITS, USD, Amendment, LimitSpec, Slot
from budgeted.ledger.admission import Ask, Refused, admit
from budgeted.ledger.cost_routing import Leg, Route, Stale
from budgeted.ledger.memory import change_records
from budgeted.ledger.redis.exact_integers import EXACT, PER_TOKEN
from budgeted.ledger.redis.ledger import RedisLedger
from budgeted.ledger.spending_records import Used

NAMES = (GLOBAL, ALICE, BOB)
ids = (f"x.{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisLedger]:
    made = redis_server.new_ledger()
    for name in NAMES:
        give(made, name)
    yield made
    made.close()


def amounts(below: int) -> st.SearchStrategy[int]:
    """Ordinary ones, and those close to a bound."""
    return (
        st.integers(0, min(below - 1, 10**6)) | st.integers(0, below - 1) | st.integers(max(0, below - 2000), below - 1)
    )


@st.composite
def slots(draw: st.DrawFn) -> Slot:
    amount = draw(amounts(EXACT))
    spent = draw(st.integers(0, amount) | amounts(EXACT))
    held = draw(st.integers(0, max(0, amount - spent)) | st.integers(0, EXACT - 1 - spent))
    unit, start = draw(st.sampled_from(range(len(UNITS)))), draw(st.sampled_from([10, 10, 0]))
    return Slot(f"limit {draw(st.integers(0, 10**9))}", unit, amount, start, 20, spent, held)


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """Any call whose whole cost can be counted."""
    most = draw(st.integers(0, 200_000) | amounts(PER_TOKEN))
    bound = min(PER_TOKEN, (EXACT - 1) * 1000 // (most + 1) + 1)
    rate = min(bound - 1, draw(st.sampled_from([0, 1, 999, 1000, 1001, 10_000_000]) | amounts(bound)))
    rest = EXACT - 1 - Ask(usd_rate=rate).usd_for(most)
    tokens_rate = draw(st.integers(0, min(4, (EXACT - 1) // (most + 1))))
    return Ask(
        usd=draw(amounts(rest + 1)),
        usd_rate=rate,
        tokens=draw(amounts(EXACT - tokens_rate * most)),
        tokens_rate=tokens_rate,
        least=draw(st.integers(0, most)),
        most=most,
        whole=draw(st.booleans()),
        uncertain_output=draw(st.integers(-1, most + 1)),
        share=draw(st.integers(2, 16)),
        floor=draw(st.integers(0, most)),
    )


@pytest.mark.slow
@settings(max_examples=400)
@given(
    ask=asks(),
    accounts=st.lists(st.lists(slots(), max_size=3, unique_by=lambda slot: slot.limit), min_size=1, max_size=3),
    soft=st.lists(st.booleans(), min_size=9, max_size=9) | st.none(),
)
@example(
    ask=Ask(usd_rate=PER_TOKEN - 1, most=10**6, least=300, whole=False),
    accounts=[[Slot("usd", USD, EXACT - 1, 10, 20, 1, 0)]],
    soft=None,
)
@example(ask=Ask(usd=EXACT - 1), accounts=[[Slot("usd", USD, EXACT - 1, 10, 20, 0, 0)]], soft=None)
def test_every_decision_is_that_of_admit(
    shared: RedisLedger, ask: Ask, accounts: list[list[Slot]], soft: list[bool] | None
) -> None:
    client = redis_server.shared().client()
    for name, held_slots in zip(NAMES, accounts, strict=False):
        record = (name, 1, True, held_slots, 0, 0, 0, 0, 0)
        client.hset(shared._key + b":accounts", name, msgspec.msgpack.encode(record))
    client.close()
    legs = [Leg(name, tuple((slot.limit, 10, 20) for slot in own)) for name, own in zip(NAMES, accounts, strict=False)]
    places = [(slot, 10, 20) for own in accounts for slot in own]
    payers = [leg.account for leg in legs for _ in leg.limits]
    where = Route.make(legs, [1] * len(legs), 20_000, "p", "m", soft[: len(places)] if soft else ())
    id = next(ids)
    got = shared.hold(id, where, ask, AT)
    expected = admit(ask, places, where.soft)
    if isinstance(expected, Refused):
        assert got == msgspec.structs.replace(expected, account=payers[expected.index])
        return
    if any(slot.unit > CALLS for slot, _, _ in places):
        assert got == change_records.held_in_parts(id, AT, expected, ask, where.raw, None)
    else:
        assert got == change_records.held(id, AT, expected, ask, where.raw)
    [opened] = [one for one in shared.open_holds() if one.id == id]
    assert (opened.usd, opened.tokens, opened.guess) == (got.usd, got.tokens, got.guess)
    for account, own in zip(map(shared.read, NAMES), accounts, strict=False):
        assert account is not None
        for slot, before in zip(account.slots, own, strict=True):
            counted = change_records.parts_of(got)[slot.unit]
            held = counted + (before.held if before.start == 10 else 0)
            assert slot.held == held or held >= EXACT  # limits that only count are passed by any amount
            assert (slot.start, slot.end, slot.amount) == (10, 20, before.amount)
    assert shared.release(id, AT)


def test_a_limit_that_cannot_be_counted_exactly_is_refused(shared: RedisLedger) -> None:
    give(shared, "u:large", usd(EXACT - 1))
    with pytest.raises(LedgerError, match=r"9,007,199.254740992 is too large for Redis, .* up to .9,007,199.254740991"):
        give(shared, "u:large", usd(EXACT))
    account = shared.read("u:large")
    assert account is not None
    assert account.slots[0].amount == EXACT - 1


def test_limits_and_what_they_keep_or_are_raised_by_are_refused_where_their_sum_cannot_be_counted_exactly(
    shared: RedisLedger,
) -> None:
    half = LimitSpec("usd/day", USD, EXACT // 2, 10, 20, -1, 0, EXACT // 2 - 10, 10)
    with pytest.raises(LedgerError, match=r"a limit of .4,503.*, with .4,503.* that may be kept, is too large"):
        give(shared, "u:kept", msgspec.structs.replace(half, keep=EXACT // 2))
    give(shared, "u:kept", half)
    too_much = Amendment(raised=("usd/day", 10, 10, 20))
    with pytest.raises(LedgerError, match=r"'usd/day' with 10 more is too large for Redis, .*; add less"):
        shared.amend("u:kept", too_much)
    with pytest.raises(LedgerError, match=f"'usd/day' with {EXACT} more is too large"):
        shared.amend("u:kept", Amendment(raised=("usd/day", EXACT, 10, 20)))
    assert shared.amend("u:kept", Amendment(raised=("usd/day", 9, 10, 20)))
    with pytest.raises(LedgerError, match=r"may be kept and what was added to it for this period, is too large"):
        give(shared, "u:kept", msgspec.structs.replace(half, amount=EXACT // 2 + 1))
    account = shared.read("u:kept")
    assert account is not None
    assert account.slots[0].amount == EXACT // 2 + 9


@pytest.mark.parametrize(
    "ask", [cost(EXACT), cost(0, tokens=EXACT), Ask(usd_rate=PER_TOKEN, most=1), Ask(usd_rate=10**6, most=10**13)]
)
def test_a_call_that_cannot_be_counted_exactly_is_refused(shared: RedisLedger, ask: Ask) -> None:
    with pytest.raises(LedgerError, match="is too large for Redis"):
        shared.hold("x.large", route(shared, ALICE), ask, AT)
    with pytest.raises(LedgerError, match="is too large for Redis"):
        shared.settle("x.large", Used(EXACT), AT)


@pytest.mark.parametrize("ahead", [-1, 0, 1])
def test_the_servers_clock_picks_the_period_among_those_that_the_client_computed(ahead: int) -> None:
    ledger = redis_server.new_ledger()
    seconds, _ = redis_server.shared().client().time()
    start = (int(seconds) // 3600 + ahead) * 3600
    give(ledger, ALICE, usd(100, "usd/hour", start=0, end=start - 3600))
    account = ledger.read(ALICE)
    assert account is not None
    legs = [Leg(ALICE, (("usd/hour", start, start + 3600),))]
    where = Route.make(legs, [account.version], 1, "p", "m", around=[(start - 3600, start + 7200)])
    assert not isinstance(ledger.hold("x.1", where, cost(5), AT), Refused | Stale)
    account = ledger.read(ALICE)
    assert account is not None
    [slot] = account.slots
    now = int(seconds)
    assert slot.start <= now < slot.end + 10
    assert (slot.end - slot.start, slot.held) == (3600, 5)
    ledger.close()


def test_a_period_that_was_begun_is_not_reopened_by_the_servers_clock() -> None:
    ledger = redis_server.new_ledger()
    later = 2**40
    give(ledger, ALICE, usd(100, "usd/hour", start=later, end=later + 10))
    account = ledger.read(ALICE)
    assert account is not None
    where = Route.make([Leg(ALICE, (("usd/hour", 0, 2**35),))], [account.version], 1, "p", "m", around=[(0, later)])
    assert not isinstance(ledger.hold("x.1", where, cost(5), AT), Refused | Stale)
    account = ledger.read(ALICE)
    assert account is not None
    assert (account.slots[0].start, account.slots[0].held) == (later, 5)
    ledger.close()


def test_a_clock_that_is_in_none_of_the_periods_is_told() -> None:
    ledger = redis_server.new_ledger()
    give(ledger, ALICE, usd(100, "usd/hour", start=0, end=3600))
    account = ledger.read(ALICE)
    assert account is not None
    where = Route.make([Leg(ALICE, (("usd/hour", 0, 3600),))], [account.version], 1, "p", "m", around=[(0, 7200)])
    with pytest.raises(LedgerError, match="set the clocks"):
        ledger.hold("x.1", where, cost(5), AT)
    assert hold(ledger, 5, ALICE).usd == 5
    ledger.close()


def test_the_servers_clock_says_what_a_rolling_limit_has_forgotten_and_what_a_period_has_left() -> None:
    ledger = redis_server.new_ledger()
    now = int(redis_server.shared().client().time()[0])
    today = now // 86_400 * 86_400
    rolling = LimitSpec("rolling", USD, 100, 0, NEVER, -1, 3600, 0, now)
    kept = LimitSpec("usd/day", USD, 100, today - 86_400, today, -1, 0, 50, 86_400)
    give(ledger, ALICE, rolling, kept)
    long_ago = now - 7200
    yesterday = Leg(ALICE, (("rolling", 0, NEVER), ("usd/day", today - 86_400, today)))
    account = ledger.read(ALICE)
    assert account is not None
    where = Route.make([yesterday], [account.version], 1, "p", "m")
    ledger.hold("x.1", where, cost(70), long_ago)
    ledger.settle("x.1", Used(70), long_ago)
    assert isinstance(ledger.hold("x.2", where, cost(80), long_ago), Refused)
    around = [(0, NEVER), (today - 2 * 86_400, today + 3 * 86_400)]
    by_the_server = Route.make([yesterday], [account.version], 1, "p", "m", around=around)
    refused = ledger.hold("x.2", by_the_server, cost(150), long_ago)
    assert isinstance(refused, Refused)
    assert (refused.limit, refused.spent, refused.end) == ("rolling", 0, 0)
    found = ledger.hold("x.2", by_the_server, cost(80), long_ago)
    assert not isinstance(found, Refused | Stale)
    assert found.at >= now
    account = ledger.read(ALICE)
    assert account is not None
    assert [(slot.amount, slot.spent, slot.held, slot.start >= today) for slot in account.slots] == [
        (100, 0, 80, False),
        (130, 0, 80, True),
    ]
    ledger.close()


def commands(verb: Callable[[], object]) -> dict[str, int]:
    """How often which commands are run by a verb that is one script."""
    with redis_server.shared().client() as client:
        client.config_resetstat()
        verb()
        stats = client.info("commandstats")
        found = {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in stats.items()}
        return {name: count for name, count in found.items() if not name.startswith(("config", "time"))}


def test_a_call_that_needs_nothing_special_runs_these_commands_and_no_others() -> None:
    ledger = redis_server.new_ledger()
    for name in (GLOBAL, ALICE):
        give(ledger, name, usd(1000), usd(1000, "usd/day"))
    charge(ledger, 1, GLOBAL, ALICE)  # which renews the lease, and sends the scripts if they are not there
    where, id = route(ledger, GLOBAL, ALICE), ledger.new_id()
    held = commands(lambda: ledger.hold(id, where, cost(5), AT))
    assert held == {"evalsha": 1, "hget": 1, "hexists": 2, "hmget": 1, "hset": 3}
    with redis_server.shared().client() as client:
        [record] = client.hvals(ledger._key + b":holds")
        account = client.hget(ledger._key + b":accounts", ALICE)
    assert (record[0], account[0]) == (0x98, 0x99)  # arrays of eight and nine, as earlier versions wrote
    settled = commands(lambda: ledger.settle(id, Used(5), AT))
    assert settled == {"evalsha": 1, "hget": 5, "hmget": 1, "hset": 6, "hlen": 1, "hdel": 3, "zadd": 2, "exists": 1}
    ledger.close()
