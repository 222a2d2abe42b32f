"""Slices of a shared ledger's limits: spent in memory, told in time, and never more than there is."""

from __future__ import annotations

import random
from typing import Any

import pytest
from forking import forked
from ledgers import ALICE, AT, BOB, NEVER, calls, check, cost, give, held, route, spent, tokens, usd
from sliced_process import Process, Server

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger.accounts import GLOBAL, USD, Amendment, LimitSpec
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import STALE
from budgeted.ledger.spending_records import Used


def test_calls_that_come_often_are_served_without_asking_the_shared_ledger(server: Server, process: Process) -> None:
    for _ in range(3):
        assert process.call(10, 7)
    assert server.asked == 6
    for _ in range(8):
        assert process.call(10, 7)
    assert server.asked == 7
    process.ledger.flush()
    assert (spent(server), held(server), server.asked) == (77, 0, 8)
    check(server)


def test_calls_that_come_seldom_go_to_the_shared_ledger_each(server: Server, process: Process) -> None:
    for _ in range(10):
        assert process.call(10, 7)
        process.pass_time(1.0)
        assert (spent(server) % 7, held(server)) == (0, 0)
    assert server.asked == 20


def test_a_limit_is_spent_to_the_last_call_that_fits_and_never_passed(server: Server) -> None:
    processes = [Process(server) for _ in range(8)]
    chance = random.Random(1)
    total, refused = 0, 0
    while refused < 100:
        one = chance.choice(processes)
        amount = chance.randrange(1, 20)
        if one.call(20, amount):
            total += amount
            refused = 0
        else:
            refused += 1
        slot = server.read(GLOBAL).slots[0]
        assert slot.spent + slot.held <= 100_000
        if chance.random() < 0.02:
            for each in processes:
                each.pass_time(0.5)
    assert total > 99_950
    for each in processes:
        each.ledger.close()
    assert (spent(server), held(server)) == (total, 0)
    check(server)


def test_reports_tell_users_models_tokens_and_calls_as_without_slices(server: Server, process: Process) -> None:
    give(server, ALICE, usd(50_000))
    for name, model, count in ((ALICE, "m", 20), (ALICE, "n", 30), (BOB, "m", 40)):
        if server.read(name) is None:
            give(server, name)
        for _ in range(count):
            assert process.call(10, 5, GLOBAL, name, model=model)
    process.ledger.flush()
    rows = {
        (row.account, row.model): (row.calls, row.usd, row.input_tokens, row.output_tokens) for row in server.rollups()
    }
    assert rows == {
        (GLOBAL, "m"): (60, 300, 120, 60),
        (GLOBAL, "n"): (30, 150, 60, 30),
        (ALICE, "m"): (20, 100, 40, 20),
        (ALICE, "n"): (30, 150, 60, 30),
        (BOB, "m"): (40, 200, 80, 40),
    }
    assert server.read(ALICE).calls == 50
    check(server)


def test_what_is_spent_is_told_each_round_and_an_idle_slice_is_given_back(server: Server, process: Process) -> None:
    process.begin()
    process.pass_time(1.0)
    assert spent(server) == 40
    assert held(server) > 0
    assert process.call(10, 10)
    process.pass_time(1.0)
    assert spent(server) == 50
    process.pass_time(1.0)
    assert (spent(server), held(server), process.ledger.upkeep()) == (50, 0, None)


def test_a_slice_is_at_most_a_share_of_what_is_left(server: Server, process: Process) -> None:
    while process.call(10, 10):
        process.background()
    slices = [(usd, left) for usd, left in server.granted if usd >= 40]
    assert len(slices) > 50
    assert all(usd <= left // 32 for usd, left in slices)
    process.ledger.flush()
    assert spent(server) == 100_000


def test_another_slice_is_asked_for_in_the_background_before_one_is_spent(server: Server, process: Process) -> None:
    process.begin()
    for _ in range(6):
        assert process.call(10, 10)
    assert process.jobs
    process.background()
    asked = server.asked
    for _ in range(7):
        assert process.call(10, 10)
    assert server.asked == asked


@pytest.mark.parametrize(
    "limit",
    [calls(1000), LimitSpec("usd/rolling-hour", USD, 10_000, 0, NEVER, window=3600, step=AT)],
    ids=["calls", "rolling"],
)
def test_limits_that_cannot_be_sliced_are_counted_call_by_call(
    server: Server, process: Process, limit: LimitSpec
) -> None:
    give(server, ALICE, limit)
    for number in range(1, 20):
        assert process.call(10, 10, GLOBAL, ALICE)
        assert (server.read(ALICE).calls, server.asked) == (number, 2 * number)
    assert not server.open_holds()


def test_limits_in_tokens_are_sliced_as_those_in_usd(server: Server, process: Process) -> None:
    give(server, ALICE, tokens(1000))
    count = 0
    while True:
        one = process.ledger.hold(process.ledger.new_id(), route(server, GLOBAL, ALICE), cost(10, tokens=3), AT)
        if isinstance(one, Refused):
            break
        process.ledger.settle(one.id, Used(5, 2, 1), AT)
        process.background()
        count += 1
    assert (count, server.asked < 2 * count) == (333, True)
    process.ledger.flush()
    assert (spent(server, ALICE, "tokens"), held(server, ALICE, "tokens")) == (999, 0)


def test_calls_that_are_cut_to_what_fits_are_cut_by_the_shared_ledger(server: Server, process: Process) -> None:
    """A call without an output cap gets a quarter of what is left, as without slices; or all that it can use."""
    ask = Ask(usd=1, usd_rate=1000, least=4, most=1000, whole=False, uncertain_output=0)
    for _ in range(20):
        one = process.ledger.hold(process.ledger.new_id(), route(server, GLOBAL), ask, AT)
        assert one.granted == 1000
        process.ledger.settle(one.id, Used(100, 1, 1), AT)
    process.ledger.flush()
    give(server, GLOBAL, usd(4000))
    one = process.ledger.hold(process.ledger.new_id(), route(server, GLOBAL), ask, AT)
    assert one.granted == (4000 - 2000) // 4 - 1


def test_a_limit_that_was_changed_elsewhere_counts_from_the_next_round_on(server: Server, process: Process) -> None:
    process.begin()
    old = route(server, GLOBAL)
    give(server, GLOBAL, usd(50))
    process.pass_time(1.0)
    assert process.ledger.hold(process.ledger.new_id(), old, cost(10), AT) is STALE
    assert process.call(10, 10)
    assert not process.call(1, 1)
    assert (spent(server), held(server)) == (50, 0)


def test_a_limit_that_was_changed_or_stopped_here_counts_at_once(server: Server, process: Process) -> None:
    process.begin()
    old = route(server, GLOBAL)
    process.ledger.amend(GLOBAL, Amendment(stopped="for a while"))
    assert (spent(server), held(server)) == (40, 0)
    assert process.ledger.hold(process.ledger.new_id(), old, cost(10), AT) is STALE


def test_what_was_spent_before_a_reset_is_forgotten_with_it(server: Server, process: Process) -> None:
    process.begin()
    process.ledger.reset(GLOBAL, AT)
    process.ledger.flush()
    assert (spent(server), held(server)) == (0, 0)


def test_an_uncertain_charge_is_listed_by_its_own_id_until_the_truth_is_known(server: Server, process: Process) -> None:
    process.begin()
    one = process.hold(10)
    assert process.ledger.settle(one.id, Used(9, 1, 1), AT, "timed out")
    assert [(charge.id, charge.used.usd, charge.reason) for charge in process.ledger.uncertain()] == [
        (one.id, 9, "timed out")
    ]
    process.ledger.flush()
    assert (spent(server), held(server)) == (49, 0)
    assert process.ledger.settle(one.id, Used(3, 1, 1), AT)
    assert (spent(server), process.ledger.uncertain(), server.read(GLOBAL).calls) == (43, [], 5)
    check(server)


def test_an_uncertain_charge_finds_its_account_though_the_limits_have_changed(server: Server, process: Process) -> None:
    process.begin()
    one = process.hold(10)
    give(server, GLOBAL, usd(5000))
    assert process.ledger.settle(one.id, Used(9, 1, 1), AT, "timed out")
    process.ledger.flush()
    assert (spent(server), held(server)) == (49, 0)


def test_calls_in_flight_go_along_into_the_next_slice_and_the_rest_of_theirs_goes_back(
    server: Server, process: Process
) -> None:
    process.begin()
    calls = [process.hold(10) for _ in range(5)]
    [before] = server.open_holds()
    process.pass_time(1.0)
    [slice_] = server.open_holds()
    assert slice_.id != before.id
    assert (spent(server), held(server)) == (40, 80)
    for one in calls:
        assert process.ledger.settle(one.id, Used(5, 1, 1), AT)
    process.ledger.flush()
    assert (spent(server), held(server), server.read(GLOBAL).calls) == (65, 0, 9)
    check(server)


def test_a_long_call_is_held_by_itself_and_the_rest_of_its_slice_goes_back(server: Server, process: Process) -> None:
    process.begin()
    one = process.hold(10)
    process.pass_time(1.0)
    process.pass_time(1.0)
    assert held(server) > 10
    process.pass_time(10.0)
    process.pass_time(10.0)
    assert (spent(server), held(server)) == (40, 10)
    assert [hold.id for hold in server.open_holds()] == [one.id]
    assert process.ledger.settle(one.id, Used(8, 1, 1), AT)
    assert process.ledger.settle(one.id, Used(8, 1, 1), AT)
    assert (spent(server), held(server), server.read(GLOBAL).calls) == (48, 0, 5)
    check(server)


def test_a_call_that_nobody_hears_of_is_charged_its_bound(server: Server, process: Process) -> None:
    process.begin()
    one = process.hold(10)
    server.clock = lambda: AT + 901.0
    assert process.ledger.sweep() >= 1
    assert "unheard of for 900 seconds" in {charge.reason for charge in server.uncertain()}
    assert process.ledger.settle(one.id, Used(8, 1, 1), AT)
    process.ledger.flush()
    assert (spent(server), held(server), server.uncertain()) == (48, 0, [])


def test_a_slice_is_spent_to_its_end_while_the_server_is_away_and_told_when_it_is_back(
    server: Server, process: Process
) -> None:
    process.begin()
    server.away = True
    served = 0
    with pytest.raises(LedgerUnavailableError):
        while True:
            assert process.call(10, 10)
            process.pass_time(0.3)
            served += 1
    assert served == 7
    server.away = False
    process.pass_time(1.0)
    process.ledger.flush()
    assert (spent(server), held(server)) == (110, 0)


def test_the_slices_of_a_process_that_died_are_charged_whole_and_listed(server: Server, process: Process) -> None:
    process.begin()
    [slice_] = server.open_holds()
    server.renew(process.ledger.new_id().partition(".")[0], -1)
    assert server.sweep() == 1
    [charge] = server.uncertain()
    assert (charge.id, charge.used.usd, charge.reason) == (slice_.id, slice_.usd, "the process died")
    assert spent(server) == 30 + slice_.usd >= 40
    process.ledger.flush()  # it had but slept
    assert (spent(server), server.uncertain(), server.read(GLOBAL).calls) == (40, [], 4)


def test_a_period_that_ends_gets_slices_of_its_own(server: Server, process: Process) -> None:
    give(server, GLOBAL, usd(100_000, "usd/day", AT, AT + 100))
    for _ in range(10):
        assert process.call(10, 10)
    tomorrow = (AT + 100, AT + 200)
    for _ in range(10):
        assert process.call(10, 10, period=tomorrow)
    process.ledger.flush()
    slot = server.read(GLOBAL).slots[0]
    assert (slot.start, slot.spent, slot.held, server.read(GLOBAL).usd) == (AT + 100, 100, 0, 200)


def test_a_charge_is_corrected_whether_it_was_told_or_not(server: Server, process: Process) -> None:
    process.begin()
    one = process.hold(10)
    process.ledger.settle(one.id, Used(10, 1, 1), AT)
    before = process.ledger.correct(one.id, Used(6, 1, 1), AT)
    assert before is not None
    assert (before.used.usd, process.ledger.ended(one.id).used.usd) == (10, 6)
    process.ledger.flush()
    assert spent(server) == 46
    assert process.ledger.correct(one.id, Used(2, 1, 1), AT) is not None
    assert (spent(server), server.read(GLOBAL).calls) == (42, 5)
    assert process.ledger.correct("x.unknown", Used(1), AT) is None
    check(server)


def test_repeating_a_verb_changes_nothing(server: Server, process: Process) -> None:
    process.begin()
    ledger, id = process.ledger, process.ledger.new_id()
    one = ledger.hold(id, route(server, GLOBAL), cost(10), AT)
    assert ledger.hold(id, route(server, GLOBAL), cost(10), AT) is one
    with pytest.raises(LedgerError, match="other amounts"):
        ledger.hold(id, route(server, GLOBAL), cost(11), AT)
    for _ in range(2):
        assert ledger.settle(id, Used(4, 1, 1), AT)
    assert ledger.settle(id, Used(9, 1, 1), AT, "a guess that comes late")
    with pytest.raises(LedgerError, match="was settled before"):
        ledger.settle(id, Used(5, 1, 1), AT)
    with pytest.raises(LedgerError, match="has ended"):
        ledger.hold(id, route(server, GLOBAL), cost(10), AT)
    assert not ledger.release(id, AT)
    other = process.hold(10)
    assert (ledger.release(other.id, AT), ledger.release(other.id, AT)) == (True, False)
    ledger.flush()
    assert (spent(server), held(server)) == (44, 0)


def test_what_was_dropped_and_is_charged_after_all_is_charged_once(server: Server, process: Process) -> None:
    process.begin()
    one, other = process.hold(10), process.hold(10)
    process.ledger.release(one.id, AT)
    assert process.ledger.settle(one.id, Used(5, 1, 1), AT)
    process.ledger.release(other.id, AT)
    assert process.ledger.settle(other.id, Used(7, 1, 1), AT, "timed out")
    assert process.ledger.settle(other.id, Used(6, 1, 1), AT)
    process.ledger.flush()
    assert (spent(server), server.read(GLOBAL).calls) == (51, 6)


def test_what_is_posted_is_charged_once_by_its_id_whoever_has_its_hold(server: Server, process: Process) -> None:
    give(server, GLOBAL, usd(100_000))
    process.begin()
    ledger, where = process.ledger, route(server, GLOBAL)
    posted, in_slice, ended = ledger.new_id(), process.hold(10).id, process.hold(10).id
    ledger.settle(ended, Used(7), AT)
    for _ in range(2):  # once more, as where no answer came
        for id in (posted, in_slice, ended):
            assert ledger.post(id, where, Used(7), AT) is True
    for id in (posted, in_slice, ended):
        assert ledger.settle(id, Used(7), AT)
        with pytest.raises(LedgerError, match="has ended"):
            ledger.hold(id, where, cost(7), AT)
    ledger.flush()
    assert (spent(server), held(server), server.read(GLOBAL).calls) == (40 + 3 * 7, 0, 4 + 3)


def test_who_waits_gets_what_comes_back_and_no_slice_is_taken_before_it(server: Server, process: Process) -> None:
    process.begin()
    woken: list[bool] = []
    ticket = server.turns.ticket(lambda: woken.append(True))
    server.turns.join(ticket, GLOBAL)
    assert process.call(10, 10)
    process.background()
    assert woken
    assert (spent(server), held(server)) == (50, 0)
    for _ in range(5):
        assert process.call(10, 10)
    assert not process.ledger._slices
    server.turns.leave(ticket)


def test_a_closed_ledger_has_given_everything_back(server: Server, process: Process) -> None:
    process.begin()
    one = process.hold(10)
    process.ledger.close()
    assert (spent(server), held(server)) == (40, 10)
    assert server.settle(one.id, Used(10, 1, 1), AT)


def test_a_forked_child_leaves_its_parents_slices_alone(server: Server, process: Process) -> None:
    process.begin()
    one = process.hold(10)

    def child() -> None:
        assert not process.ledger._slices
        assert process.ledger.settle(one.id, Used(1, 1, 1), AT)
        assert not process.ledger._out

    forked(child)
    assert process.ledger.settle(one.id, Used(8, 1, 1), AT)
    process.ledger.flush()
    assert (spent(server), held(server)) == (48, 0)


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_calls_ends_as_without_slices(seed: int) -> None:
    server = Server()
    give(server, GLOBAL, usd(5000))
    give(server, ALICE, usd(3000))
    give(server, BOB, tokens(900))
    chance = random.Random(seed)
    processes = [Process(server) for _ in range(3)]
    open_calls: list[tuple[Process, Any]] = []
    expected = 0
    for _ in range(600):
        one = chance.choice(processes)
        step = chance.random()
        if step < 0.5:
            names = chance.choice([(GLOBAL,), (GLOBAL, ALICE), (GLOBAL, BOB)])
            ask = cost(chance.randrange(1, 30), tokens=chance.randrange(5), uncertain=0)
            got = one.ledger.hold(one.ledger.new_id(), route(server, *names), ask, AT)
            if not isinstance(got, Refused):
                open_calls.append((one, got))
        elif step < 0.9 and open_calls:
            owner, got = open_calls.pop(chance.randrange(len(open_calls)))
            used = Used(chance.randrange(got.usd + 1), got.tokens)
            if chance.random() < 0.2:
                owner.ledger.release(got.id, AT)
            else:
                owner.ledger.settle(got.id, used, AT, chance.choice(["", "", "timed out"]))
                expected += used.usd
        elif step < 0.97:
            one.pass_time(chance.choice([0.1, 0.5, 11.0]))
        else:
            give(server, ALICE, usd(chance.randrange(2500, 3500)))
        for account in server.accounts():
            for slot in account.slots:
                assert slot.spent + slot.held <= slot.amount + 30, "an uncertain charge counts twice for a moment"
    for owner, got in open_calls:
        owner.ledger.release(got.id, AT)
    for one in processes:
        one.ledger.close()
        one.background()
    assert spent(server) == expected <= 5000
    assert held(server) == 0
    check(server)
