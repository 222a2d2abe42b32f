"""What the tests of ledgers share: routes and asks in few words, and what must hold of every ledger at any time."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import textwrap
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from budgeted.ledger.accounts import CALLS, GLOBAL, TOKENS, USD, LimitSpec
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Leg, Route
from budgeted.ledger.http.ledger import HTTPLedger
from budgeted.ledger.journal import checked_lines, segment_files, snapshot_files
from budgeted.ledger.journal.checked_lines import Continued, Header
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.memory import fork_safety
from budgeted.ledger.memory.change_records import Held, parts_of
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.memory.state import State
from budgeted.ledger.opening import open_ledger
from budgeted.ledger.redis.ledger import RedisLedger
from budgeted.ledger.sliced.ledger import SlicedLedger
from budgeted.ledger.sliced.slices import SlicedCall
from budgeted.ledger.spending_records import Used

NEVER = 2**62
ALICE, BOB = "u:alice", "u:bob"
AT = 1_800_000_000


def usd(amount: int, limit: str = "usd", start: int = 0, end: int = NEVER, since: int = -1) -> LimitSpec:
    return LimitSpec(limit, USD, amount, start, end, since)


def tokens(amount: int, start: int = 0, end: int = NEVER, since: int = -1) -> LimitSpec:
    return LimitSpec("tokens", TOKENS, amount, start, end, since)


def calls(amount: int, start: int = 0, end: int = NEVER, since: int = -1) -> LimitSpec:
    return LimitSpec("calls", CALLS, amount, start, end, since)


def give(ledger: Any, account: str, *limits: LimitSpec) -> None:
    ledger.set_limits(account, limits, explicit=True)


def route(
    ledger: Any, *names: str, model: str = "m", day: int = 20_000, period: tuple[int, int] | None = None
) -> Route:
    """The route of a call on these accounts with all their limits, in the periods they are in, or in this one."""
    legs, versions = [], []
    for name in names:
        account = ledger.read(name)
        versions.append(account.version)
        legs.append(Leg(name, tuple((s.limit, *(period or (s.start, s.end))) for s in account.slots)))
    return Route.make(legs, versions, day, "p", model)


def cost(amount: int, tokens: int = 0, uncertain: int = 0) -> Ask:
    """A call that costs so much, all of it or nothing."""
    return Ask(usd=amount, tokens=tokens, uncertain_output=uncertain)


def hold(ledger: Any, amount: int, *names: str, at: int = AT, id: str | None = None, **more: Any) -> Any:
    """A hold, its id, or the refusal."""
    return ledger.hold(id or ledger.new_id(), route(ledger, *names, **more), cost(amount), at)


def charge(ledger: Any, amount: int, *names: str, **more: Any) -> str:
    """A call that was made and cost so much."""
    held = hold(ledger, amount, *names, **more)
    assert isinstance(held, Held | SlicedCall), held
    ledger.settle(held.id, Used(amount, 1, 1), AT)
    return held.id


def spent(ledger: Any, name: str = GLOBAL, limit: str = "usd") -> int:
    return int(next(slot.spent for slot in ledger.read(name).slots if slot.limit == limit))


def held(ledger: Any, name: str = GLOBAL, limit: str = "usd") -> int:
    return int(next(slot.held for slot in ledger.read(name).slots if slot.limit == limit))


def busy(ledger: Any) -> Any:
    """Somebody else is in a verb of the ledger, as a context manager."""
    if isinstance(ledger, SlicedLedger):
        return busy(ledger.shared_ledger)
    if isinstance(ledger, MemoryLedger):
        return ledger._lock
    return contextlib.ExitStack() if ledger.remote else ledger._database.lock


def prune(ledger: Any) -> None:
    """Have what is too old dropped, where that is not done at once."""
    if isinstance(ledger, SlicedLedger):
        ledger.flush()
        ledger = ledger.shared_ledger
    if isinstance(ledger, MemoryLedger | HTTPLedger):  # the latter's is in this process too
        for one in fork_safety.ledgers.alive():
            if type(one) is MemoryLedger or one is ledger:
                with one._entered() as state:
                    state.prune()
    elif not isinstance(ledger, RedisLedger):
        ledger.clock = lambda: AT + 10.0**6
        ledger.prune()


def check(ledger: Any) -> None:
    """What holds at any time: nothing is negative, what is held is the sum of the open holds, the journal agrees."""
    by_slot: dict[tuple[str, str, int], int] = defaultdict(int)
    by_account: dict[str, int] = defaultdict(int)
    for one in ledger.open_holds():
        _, _, _, legs = msgspec.json.decode(one.route)
        for account, limits in legs:
            by_account[account] += one.usd
            for limit, start, _ in limits:
                for unit, amount in enumerate(parts_of(one)):
                    by_slot[account, limit, start, unit] += amount
    for account in ledger.accounts(count=10**9):
        assert account.held == by_account[account.id], account
        assert min(account.usd, account.tokens, account.calls) >= 0
        for slot in account.slots:
            assert slot.held == by_slot[account.id, slot.limit, slot.start, slot.unit], (account, slot)
            assert slot.spent >= 0
    if isinstance(ledger, JournalLedger):
        known = dump(ledger)
        while (saving := ledger._saving) is not None and saving.is_alive():
            saving.join()  # else it drops the files of before while they are read here
        assert known == replayed(ledger.directory)


def dump(ledger: Any) -> bytes:
    """Everything a ledger knows, in one canonical form."""
    ledger.read(GLOBAL)
    return canonical(ledger._state)


def canonical(state: State) -> bytes:
    """A state without the order in which sums came about."""
    saved = json.loads(state.encode())
    for account in saved[1]:
        account[8] = sorted((account[8] or {}).items())
    saved[-1].sort()
    return json.dumps(saved).encode()


def replayed(directory: Path, *, whole: bool = False) -> bytes:
    """The same from the files alone: from the newest snapshot, or from the first line on."""
    snapshots = segment_files.numbers(directory, "snapshot")
    state, number = State(), 1
    if snapshots and not whole:
        number = snapshots[-1]
        _, state = snapshot_files.read_snapshot(directory, number)
    while number:
        path = segment_files.journal_path(directory, number)
        number = 0
        found, _, _ = checked_lines.read(path.read_bytes(), 0, path, 0)
        for record in found:
            if isinstance(record, Continued):
                number = record.segment
                state.prune()
            elif not isinstance(record, Header):
                state.apply(record)
    return canonical(state)


def python(program: str, *args: object, **options: Any) -> subprocess.Popen[str]:
    """A process of its own that runs a program, with ``import ledgers`` at hand."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, args)],
        env=os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def opened(where: str, project: str) -> Any:
    """A ledger of its own, as another process would have it."""
    from budgeted.ledger.opening import _by_server

    _by_server.pop((where, project), None)
    return open_ledger(where, project, fsync="background")


def together(*processes: subprocess.Popen[str]) -> None:
    """Let processes that have said that they are ready go on at once."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def charged(ledger: Any, one: Any, chance: random.Random, most: int) -> int:
    """End a hold by chance, dropped or charged at most so many nano-USD; what it was charged."""
    if chance.random() < 0.2:
        ledger.release(one.id, AT)
        return 0
    real = chance.randrange(most + 1)
    ledger.settle(one.id, Used(real), AT)
    return real


def work_together(ledger: Any, work: Callable[[int], int], threads: int) -> int:
    """What threads of such a process charge in all: they begin as `together` says, and the ledger is closed then."""
    sums: list[int] = []
    workers = [threading.Thread(target=lambda number=i: sums.append(work(number))) for i in range(threads)]
    print("ready", flush=True)
    sys.stdin.readline()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(sums) == threads
    ledger.close()
    return sum(sums)


def finish(*processes: subprocess.Popen[str]) -> list[str]:
    """What the processes printed, after they ended well."""
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return outputs


def kill(process: subprocess.Popen[str]) -> str:
    """End a process as ``kill -9`` does; returns the rest of what it printed."""
    process.kill()
    return process.communicate()[0]


def refusals(results: Iterable[Any]) -> list[Refused]:
    return [one for one in results if isinstance(one, Refused)]
