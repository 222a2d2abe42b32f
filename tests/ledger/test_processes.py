"""Threads and processes that share a ledger: never too much, nothing lost, whoever dies or stops."""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ledgers import (
    ALICE,
    AT,
    busy,
    charge,
    check,
    cost,
    dump,
    finish,
    give,
    held,
    kill,
    python,
    refusals,
    replayed,
    route,
    spent,
    together,
    usd,
)

from budgeted.errors import LedgerLockedError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Refused
from budgeted.ledger.journal import segment_files
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.spending_records import Used

WORKER = """
    import random, sys, threading
    from ledgers import *
    from budgeted.ledger.memory.change_records import Held
    ledger = JournalLedger(sys.argv[1])
    threads, calls, seed = int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    where = [route(ledger, GLOBAL, ALICE), route(ledger, GLOBAL, BOB), route(ledger, GLOBAL)]
    sums, refused = [], []
    def work(number):
        chance = random.Random(seed * 1000 + number)
        total = no = 0
        for _ in range(calls):
            amount = chance.randrange(1, 20)
            id = ledger.new_id()
            while not isinstance(held := ledger.hold(id, chance.choice(where), cost(amount), AT), Refused | Held):
                pass
            if isinstance(held, Refused):
                no += 1
                continue
            slot = ledger.read(GLOBAL).slots[0]
            assert slot.spent + slot.held <= slot.amount, slot
            if chance.random() < 0.2:
                ledger.release(id, AT)
            else:
                real = chance.randrange(amount + 1)
                ledger.settle(id, Used(real), AT)
                total += real
        sums.append(total)
        refused.append(no)
    print("ready", flush=True)
    sys.stdin.readline()
    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    [one.start() for one in workers]
    [one.join() for one in workers]
    assert len(sums) == threads
    ledger.close()
    print(sum(sums), sum(refused))
"""


def run(directory: Path, processes: int, threads: int, calls: int) -> tuple[int, int]:
    """Have processes of so many threads make calls at once; returns what they spent and were refused."""
    workers = [python(WORKER, directory, threads, calls, seed) for seed in range(processes)]
    together(*workers)
    figures = [output.split() for output in finish(*workers)]
    return sum(int(a) for a, _ in figures), sum(int(b) for _, b in figures)


def test_fifty_threads_never_pass_a_limit_and_sum_up_exactly(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(1500))
    give(ledger, ALICE, usd(800))
    where = [route(ledger, GLOBAL, ALICE), route(ledger, GLOBAL)]
    sums, results = [], []

    def work(seed: int) -> None:
        chance, total = random.Random(seed), 0
        for _ in range(12):
            result = ledger.hold(ledger.new_id(), chance.choice(where), cost(chance.randrange(1, 20)), AT)
            results.append(result)
            if refusals([result]):
                continue
            account = ledger.read(ALICE).slots[0]
            assert account.spent + account.held <= account.amount
            used = chance.randrange(result.usd + 1)
            ledger.settle(result.id, Used(used), AT)
            total += used
        sums.append(total)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sums) == 50
    assert spent(ledger) == sum(sums) == ledger.read(GLOBAL).usd
    assert refusals(results)
    check(ledger)


@pytest.mark.slow
@pytest.mark.parametrize("lines", [100_000, 300])
def test_four_processes_of_25_threads_never_pass_a_limit_and_sum_up_exactly(
    journal: JournalLedger, monkeypatch: pytest.MonkeyPatch, lines: int
) -> None:
    give(journal, GLOBAL, usd(20_000))
    give(journal, ALICE, usd(5_000))
    give(journal, "u:bob", usd(9_000))
    program = WORKER.replace(
        "import random, sys, threading",
        f"import random, sys, threading, budgeted.ledger.journal.ledger as j; j.ROTATE_LINES = {lines}",
    )
    monkeypatch.setattr("test_processes.WORKER", program)
    monkeypatch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", lines)
    total, refused = run(journal.directory, 4, 25, 40)
    assert spent(journal) == journal.read(GLOBAL).usd == total
    assert refused > 0
    assert held(journal) == 0
    check(journal)
    if lines == 100_000:
        assert replayed(journal.directory, whole=True) == dump(journal)


HOLDER = """
    import sys
    from ledgers import *
    ledger = JournalLedger(sys.argv[1])
    for amount in sys.argv[2:]:
        ledger.hold(ledger.new_id(), route(ledger, GLOBAL), cost(int(amount), uncertain=5), AT)
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(directory: Path, *amounts: int) -> Any:
    """A process that holds these amounts and waits."""
    process = python(HOLDER, directory, *amounts)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_what_a_killed_process_held_is_charged_once_by_the_living(journal: JournalLedger) -> None:
    give(journal, GLOBAL, usd(1000))
    process = holder(journal.directory, 10, 20)
    assert held(journal) == 30
    assert journal.sweep() == 0
    kill(process)
    others = [JournalLedger(journal.directory) for _ in range(3)]
    assert sum(one.sweep() for one in [journal, *others]) == 0  # the first that opened did it
    assert (held(journal), spent(journal)) == (0, 30)
    assert [one.reason for one in journal.uncertain()] == ["the process died"] * 2
    check(journal)
    for one in others:
        one.close()


def test_processes_that_sweep_at_once_charge_each_hold_once(journal: JournalLedger) -> None:
    give(journal, GLOBAL, usd(10**6))
    process = holder(journal.directory, *range(1, 101))
    kill(process)
    sweeper = """
        import sys
        from ledgers import *
        print("ready", flush=True)
        sys.stdin.readline()
        JournalLedger(sys.argv[1]).close()
    """
    sweepers = [python(sweeper, journal.directory) for _ in range(3)]
    together(*sweepers)
    finish(*sweepers)
    journal.sweep()
    assert (held(journal), spent(journal), journal.read(GLOBAL).calls) == (0, 5050, 100)
    check(journal)


def test_a_stopped_process_is_not_dead_until_its_holds_are_too_old(journal: JournalLedger) -> None:
    give(journal, GLOBAL, usd(1000))
    journal.clock = lambda: AT + 1.0
    process = holder(journal.directory, 10)
    process.send_signal(signal.SIGSTOP)
    try:
        assert journal.sweep() == 0
        journal.clock = lambda: AT + journal.hold_timeout
        assert journal.sweep() == 1
        assert journal.uncertain()[0].reason == "unheard of for 900 seconds"
    finally:
        process.send_signal(signal.SIGCONT)
        finish(process)
    check(journal)


def test_files_of_dead_processes_are_removed(journal: JournalLedger) -> None:
    give(journal, GLOBAL, usd(1000))
    process = holder(journal.directory, 10)
    kill(process)
    journal.sweep()
    assert [path.name for path in (journal.directory / "owners").iterdir()] == [journal.owner]


def test_a_stopped_holder_of_the_lock_is_named_within_the_deadline(
    journal: JournalLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(journal, GLOBAL, usd(1000))
    program = """
        import os, signal, sys
        from ledgers import *
        ledger = JournalLedger(sys.argv[1])
        ledger._append = lambda record: os.kill(os.getpid(), signal.SIGSTOP)
        print("ready", flush=True)
        hold(ledger, 1, GLOBAL)
    """
    process = python(program, journal.directory)
    os.waitpid(process.pid, os.WUNTRACED)
    where = journal._state.accounts and route_without_lock(journal)
    try:
        started = time.monotonic()
        with pytest.raises(LedgerLockedError, match=f"process {process.pid} "):
            journal.hold("x.1", where, cost(1), AT, timeout=0)
        assert time.monotonic() - started < 0.1
        with pytest.raises(LedgerLockedError, match=f"kill -CONT {process.pid}"):
            journal.settle("x.1", Used(1), AT, timeout=0.2)
        assert 0.2 <= time.monotonic() - started < 5
        with ThreadPoolExecutor(1) as waits:
            other = waits.submit(journal.settle, "x.1", Used(1), AT, timeout=1)
            while not (journal._lock.locked() or other.done()):
                pass
            with pytest.raises(LedgerLockedError, match=f"kill -CONT {process.pid}"):
                journal.settle("x.1", Used(1), AT, timeout=0)
            with pytest.raises(LedgerLockedError, match=f"kill -CONT {process.pid}"):
                other.result()
        monkeypatch.setattr("budgeted.ledger.journal.ledger.LOCK_SECONDS", 0.1)
        with pytest.raises(LedgerLockedError, match=str(process.pid)):
            journal.read(GLOBAL)
    finally:
        kill(process)
    assert charge(journal, 1, GLOBAL)
    check(journal)


def route_without_lock(journal: JournalLedger) -> Any:
    from budgeted.ledger.cost_routing import Leg, Route

    account = journal._state.accounts[GLOBAL]
    legs = (Leg(GLOBAL, tuple((s.limit, s.start, s.end) for s in account.slots)),)
    return Route.make(legs, (account.version,), 1, "p", "m")


def test_a_busy_lock_raises_at_once_where_no_waiting_is_wanted(local_ledger: Any) -> None:
    ledger = local_ledger
    give(ledger, GLOBAL, usd(10))
    where = route(ledger, GLOBAL)
    with busy(ledger), pytest.raises(LedgerLockedError):
        ledger.hold("x.1", where, cost(1), AT, timeout=0)
    with busy(ledger), pytest.raises(LedgerLockedError, match=r"0\.01 seconds"):
        ledger.hold("x.1", where, cost(1), AT, timeout=0.01)
    assert ledger.hold("x.1", where, cost(1), AT, timeout=0).usd == 1


def test_a_period_begins_once_across_processes(journal: JournalLedger) -> None:
    give(journal, GLOBAL, usd(1000, "usd/day", 0, AT))
    program = """
        import sys
        from ledgers import *
        ledger = JournalLedger(sys.argv[1])
        where = route(ledger, GLOBAL, period=(AT, AT + 100))
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(50):
            id = ledger.new_id()
            assert ledger.hold(id, where, cost(1), AT).usd == 1
            ledger.settle(id, Used(1), AT)
        ledger.close()
    """
    charge(journal, 999, GLOBAL)
    workers = [python(program, journal.directory) for _ in range(3)]
    together(*workers)
    finish(*workers)
    slot = journal.read(GLOBAL).slots[0]
    assert (slot.start, slot.spent, slot.held) == (AT, 150, 0)
    check(journal)


def test_what_others_spend_in_a_period_counts_where_its_first_call_was_refused(
    directory: Path, journal: JournalLedger
) -> None:
    with closing(JournalLedger(directory)) as other:
        give(journal, GLOBAL, usd(100, "usd/day", 0, AT))
        charge(journal, 50, GLOBAL)
        today = route(journal, GLOBAL, period=(AT, AT + 100))
        assert isinstance(journal.hold("x.1", today, cost(101), AT), Refused)
        other.settle(other.hold("y.1", today, cost(80), AT).id, Used(80), AT)
        assert isinstance(journal.hold("x.2", today, cost(21), AT), Refused)
        assert spent(journal, limit="usd/day") == spent(other, limit="usd/day") == 80
        check(journal)


def test_a_rotation_seen_while_no_file_can_be_opened_is_followed_later(directory: Path, journal: JournalLedger) -> None:
    give(journal, GLOBAL, usd(1000))
    with closing(JournalLedger(directory)) as other:
        with journal._entered():
            journal._rotate()
            allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
            try:
                other._read_ahead()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
        charge(other, 5, GLOBAL)
        charge(journal, 7, GLOBAL)
        assert spent(journal) == spent(other) == 12


def test_a_rotation_that_is_interrupted_is_gone_on_with(
    journal: JournalLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    give(journal, GLOBAL, usd(1000))
    with monkeypatch.context() as patch, journal._entered(), pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "fdatasync", interrupted)
        journal._rotate()
    charge(journal, 5, GLOBAL)
    check(journal)
    assert spent(JournalLedger(journal.directory)) == 5


VICTIMS = """
    import os, sys
    import budgeted.ledger.journal.ledger as j
    from ledgers import *
    j.ROTATE_LINES = 400
    def charge_for_ever(sending):
        ledger = JournalLedger(sys.argv[1])
        where = route(ledger, GLOBAL, ALICE)
        while True:
            id = ledger.new_id()
            if not isinstance(ledger.hold(id, where, cost(7), AT), Refused):
                ledger.settle(id, Used(3), AT)
                os.write(sending, b"3")
    for _ in sys.stdin:
        receiving, sending = os.pipe()
        pid = os.fork()
        if not pid:
            charge_for_ever(sending)
        os.close(sending)
        with os.fdopen(receiving, "rb", 0) as pipe:
            first = pipe.read(1)
            print(pid, flush=True)
            acknowledged = len(first + pipe.read())
        os.waitpid(pid, 0)
        print(acknowledged, flush=True)
"""
"""For each line that it reads: a child that charges until it is killed, its pid, and the charges that it acknowledged.

Forked, as a process that starts anew takes far longer to begin than it lives."""


@pytest.mark.slow
def test_a_hundred_kills_lose_no_acknowledged_charge(journal: JournalLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line that the victim printed was acknowledged; at most one charge more may have been recorded."""
    monkeypatch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", 400)
    give(journal, GLOBAL, usd(10**12))
    give(journal, ALICE, usd(10**12))
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    mine = victims = 0
    parent = python(VICTIMS, journal.directory)
    assert parent.stdin is not None
    assert parent.stdout is not None
    for _ in range(100):
        parent.stdin.write("\n")
        parent.stdin.flush()
        pid = int(parent.stdout.readline())
        started, after = time.monotonic(), chance.uniform(0, 0.02)
        while time.monotonic() - started < after:
            charge(journal, 1, GLOBAL, ALICE)
            mine += 1
        os.kill(pid, signal.SIGKILL)
        acknowledged = int(parent.stdout.readline())
        journal.sweep()
        assert journal.open_holds() == []
        known = spent(journal) - mine
        guessed = sum(one.used.usd for one in journal.uncertain())
        charges = (known - guessed) // 3 - victims
        assert acknowledged <= charges <= acknowledged + 1
        victims += charges
        assert spent(journal, ALICE) == spent(journal)
    finish(parent)
    assert victims >= 100
    journal.flush()
    check(journal)
    assert segment_files.numbers(journal.directory, "snapshot")


@pytest.mark.slow
def test_a_million_accounts_fit_into_600_megabytes(directory: Path) -> None:
    program = """
        from ledgers import *
        from budgeted.ledger.memory.ledger import MemoryLedger
        ledger = MemoryLedger()
        for i in range(10**6):
            ledger.set_limits(f"u:user-{i}", [LimitSpec("usd/day", USD, 10**9, 0, 10**10)], explicit=False, create=True)
        charge(ledger, 1, "u:user-77")
        print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
    """
    # Not what getrusage tells: that is at least as much as the process had that started this one.
    [most] = finish(python(program))
    assert int(most.split()[1]) < 600 * 1024
