"""Each verb over a bad network: replies cut, torn and late, requests repeated; Redis killed, stopped, older and empty.

A case is one verb on Redis, on PostgreSQL or on a server, through a proxy with up to three faults in a row, tried until
it is answered, as the package itself does in the background. Then every figure is what the bill says. In the other
cases two processes' ledgers share a Redis that dies under their load and comes back with its data, with older data, or
without any, or a server that is started again so: what they are billed is what is spent, or they were told and had it
repaired.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import redis_server
import servers
from ledgers import ALICE, AT, check, cost, give, route, usd
from serving import Serving

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Stale
from budgeted.ledger.http.ledger import HTTPLedger
from budgeted.ledger.redis.ledger import RedisLedger
from budgeted.ledger.spending_records import Used
from budgeted.ledger.sql.ledger import SQLLedger
from proof.calls_under_load import LIMIT, Load, never
from proof.faulty_proxy import Fault, FaultyProxy
from proof.told_log import listening
from proof.trial import Case, Trial

SHORT, LONG = 12.0, 300.0

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which a verb must have been answered, however bad the network was."""

LONGEST_REPLY = {"redis": 120, "postgresql": 900, "http": 400}
"""Bytes of a reply, about: it is torn within these."""

STEPS = {"redis": 1, "postgresql": 9, "http": 3}
"""Bytes from one place where replies are torn to the next."""

FAULTS = ["cut reply", "torn reply", "torn reply", "torn request", "cut connection", "late reply", "repeated request"]


class Bill:
    """What a case's account must say in the end: nano-USD spent and held, and calls."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.spent = self.held = self.calls = 0


class Place:
    """A ledger behind a proxy, and the same one directly."""

    def __init__(self, kind: str, proxy: FaultyProxy, direct: Any, through: Any) -> None:
        self.kind, self.proxy, self.direct, self.through = kind, proxy, direct, through
        for one in (direct, through):
            one._watched = True  # nothing else is asked for meanwhile
            one.clock = lambda: float(AT)
        give(direct, GLOBAL, usd(2**52))
        direct.renew(through.owner, 10**6)


def run(trial: Trial) -> None:
    """Try verbs on each ledger, then Redis and a server themselves, then the verbs with replies torn everywhere."""
    logging.getLogger("budgeted").setLevel(logging.CRITICAL)  # of every fault it is told, as it should be
    with contextlib.ExitStack() as stack:
        places = {
            kind: stack.enter_context(opened(trial))
            for kind, opened in (("redis", redis), ("postgresql", postgresql), ("http", http))
            if trial.wants(kind) or trial.wants(f"{kind}-torn")
        }
        for kind, place in places.items():
            trial.random_cases(kind, functools.partial(attempt, place=place), 0.13)
        trial.each_case("killed", ENDS * (60 if trial.long else 1), kill_redis)
        trial.each_case("served", STARTS * (40 if trial.long else 1), restart_server)
        logging.getLogger("budgeted").setLevel(logging.CRITICAL)
        for kind, place in places.items():
            offsets = range(0, LONGEST_REPLY[kind], STEPS[kind])
            items = [(verb, offset) for verb in CHANGING for offset in offsets]
            trial.each_case(f"{kind}-torn", items, functools.partial(attempt_torn, place=place), most=6)


@contextlib.contextmanager
def redis(trial: Trial) -> Iterator[Place]:
    """A Redis, which is asked twice at most by its own client."""
    server = redis_server.shared()
    project = redis_server.new_project()
    with FaultyProxy(("127.0.0.1", server.port)) as proxy:
        through = RedisLedger(f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=1", project)
        yield Place("redis", proxy, RedisLedger(server.url, project), through)


@contextlib.contextmanager
def postgresql(trial: Trial) -> Iterator[Place]:
    """A PostgreSQL."""
    import sqlalchemy as sa

    url = servers.postgres_url()
    project = servers.project()
    with FaultyProxy(f"{sa.make_url(url).query['host']}/.s.PGSQL.5432") as proxy:
        through = f"postgresql+psycopg://postgres:x@127.0.0.1:{proxy.port}/postgres?sslmode=disable&gssencmode=disable"
        yield Place("postgresql", proxy, SQLLedger(url, project), SQLLedger(through, project))


@contextlib.contextmanager
def http(trial: Trial) -> Iterator[Place]:
    """A server with its ledger on disk, which sweeps nothing of itself."""
    with Serving(ledger=trial.directory / "served", hold_timeout=10**10) as serving:
        project = servers.project()
        with FaultyProxy(_address(serving)) as proxy:
            through = HTTPLedger(f"http://127.0.0.1:{proxy.port}", project)
            yield Place("http", proxy, HTTPLedger(serving.url, project), through)


# -- one verb


def attempt(case: Case, place: Place) -> None:
    """One verb with faults in a row, then the books."""
    rng = case.rng
    verb = list(VERBS)[case.number % len(VERBS)]
    faults = []
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(FAULTS)
        if kind == "repeated request" and place.kind == "postgresql":
            kind = "late reply"  # its connections have a state, which another one has not
        faults.append(Fault(kind, rng.randrange(LONGEST_REPLY[place.kind])))
    attempt_with(case, place, verb, faults)


def attempt_torn(case: Case, item: tuple[str, int], place: Place) -> None:
    """One verb whose reply is torn at one place, then the books."""
    verb, offset = item
    attempt_with(case, place, verb, [Fault("torn reply", offset)])


def attempt_with(case: Case, place: Place, verb: str, faults: list[Fault]) -> None:
    """One verb with these faults, then the books."""
    bill = Bill(f"u:{case.name}")
    insist(lambda: give(place.through, bill.user, usd(10**6)))
    act = VERBS[verb](place, bill, case.rng.randint(1, 40))
    kinds, before = [fault.kind for fault in faults], place.proxy.injected
    case.tell(f"{verb} with {faults}")
    place.proxy.faults.extend(faults)
    insist(act)
    for kind in kinds[: place.proxy.injected - before]:
        case.fault(kind)
    place.proxy.faults.clear()
    settled(place.through)
    for ledger in (place.direct, place.through):
        require_bill(ledger, bill)
        require_empty(ledger, bill)


def require_bill(ledger: Any, bill: Bill) -> None:
    """Raise unless the account says what the bill says."""
    account = ledger.read(bill.user)
    found = (account.usd, account.held, account.calls, *(sum(s.spent for s in account.slots),))
    expected = (bill.spent, bill.held, bill.calls, bill.spent)
    never(found != expected, f"{bill.user} is charged {found} (USD, held, calls, of its limit), the bill is {expected}")


def require_empty(ledger: Any, bill: Bill) -> None:
    """Raise if a hold is left that nobody will end."""
    never(not bill.held and (left := [one.id for one in ledger.open_holds()]), f"holds are left: {left}")


def insist(verb: Callable[[], T]) -> T:
    """What a verb answers in the end."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return verb()
        except LedgerError as error:
            # One that a server cannot tell about is looked after, as it says: asked for anew, it does no harm here.
            told = isinstance(error, LedgerUnavailableError) or "cannot tell whether this was done" in str(error)
            if not told or time.monotonic() > until:
                raise


def settled(ledger: Any) -> None:
    """Have what was put off done: holds whose answer never came are given back."""
    until = time.monotonic() + PATIENCE
    while ledger._doubtful or background_worker.refused():
        background_worker.drain()
        never(time.monotonic() > until, "what was put off is not done")


def _held(place: Place, bill: Bill, amount: int) -> str:
    """A hold of the direct ledger's making, in the name of the other."""
    id = place.through.new_id()
    held = insist(lambda: place.through.hold(id, route(place.through, bill.user), cost(amount), AT))
    never(isinstance(held, Refused | Stale), f"a hold of {amount} was not granted: {held}")
    return str(id)


def _hold(place: Place, bill: Bill, amount: int) -> Callable[[], object]:
    where = route(place.through, bill.user)

    def act() -> None:
        id = place.through.new_id()
        place.through.hold(id, where, cost(amount), AT)
        insist(lambda: place.through.settle(id, Used(amount), AT))

    bill.spent, bill.calls = amount, 1
    return act


def _settle(place: Place, bill: Bill, amount: int) -> Callable[[], object]:
    id = _held(place, bill, 50)
    bill.spent, bill.calls = amount, 1
    return lambda: _true(place.through.settle(id, Used(amount), AT))


def _settle_uncertain(place: Place, bill: Bill, amount: int) -> Callable[[], object]:
    id = _held(place, bill, 50)
    bill.spent, bill.calls = amount, 1
    return lambda: _true(place.through.settle(id, Used(amount), AT, "timed out"))


def _release(place: Place, bill: Bill, amount: int) -> Callable[[], object]:
    id = _held(place, bill, amount)
    return lambda: place.through.release(id, AT)


def _post(place: Place, bill: Bill, amount: int) -> Callable[[], object]:
    id, where = place.through.new_id(), route(place.through, bill.user)
    bill.spent, bill.calls = amount, 1
    return lambda: _true(place.through.post(id, where, Used(amount), AT))


def _charged(place: Place, bill: Bill, amount: int, reason: str = "") -> str:
    id = _held(place, bill, 50)
    place.through.settle(id, Used(amount), AT, reason)
    bill.spent, bill.calls = amount, 1
    return id


def _correct(place: Place, bill: Bill, amount: int) -> Callable[[], object]:
    id = _charged(place, bill, 45, "timed out")
    bill.spent = amount
    return lambda: place.through.correct(id, Used(amount), AT)


def _set_limits(place: Place, bill: Bill, amount: int) -> Callable[[], object]:
    _charged(place, bill, amount)
    return lambda: give(place.through, bill.user, usd(10**7))


def _reset(place: Place, bill: Bill, amount: int) -> Callable[[], object]:
    _charged(place, bill, amount)
    bill.spent = bill.calls = 0
    return lambda: place.through.reset(bill.user, AT)


def _delete(place: Place, bill: Bill, amount: int) -> Callable[[], object]:
    _charged(place, bill, amount)
    bill.spent = bill.calls = 0

    def act() -> None:
        place.through.delete(bill.user)
        insist(lambda: give(place.through, bill.user, usd(10**6)))

    return act


def _reading(verb: str, *args: object) -> Callable[[Place, Bill, int], Callable[[], object]]:
    def prepare(place: Place, bill: Bill, amount: int) -> Callable[[], object]:
        id = _charged(place, bill, amount)
        asked = {"read": (bill.user,), "ended": (id,), "renew": (place.through.owner, 10**6), "rollups": (0, bill.user)}
        return lambda: getattr(place.through, verb)(*asked.get(verb, ()))

    return prepare


def _true(answer: object) -> None:
    never(answer is not True, f"a charge was answered with {answer}")


VERBS: dict[str, Callable[[Place, Bill, int], Callable[[], object]]] = {
    "hold": _hold,
    "settle": _settle,
    "post": _post,
    "release": _release,
    "settle uncertain": _settle_uncertain,
    "correct": _correct,
    "set_limits": _set_limits,
    "reset": _reset,
    "delete": _delete,
    **{
        verb: _reading(verb)
        for verb in ("read", "ended", "renew", "rollups", "accounts", "uncertain", "open_holds", "sweep", "repair")
    },
}

CHANGING = list(VERBS)[:9]
"""Those that change balances."""


# -- Redis itself

ENDS = ["kill -9", "SIGSTOP", "older data", "no data"]


def kill_redis(case: Case, end: str) -> None:
    """One Redis under load that comes to such an end, from its first call to the books."""
    rng = case.rng
    kept = ("yes", "always") if end == "kill -9" else ("no", "no")
    logging.getLogger("budgeted").setLevel(logging.ERROR)
    with (
        listening(logging.ERROR) as told,
        redis_server.RedisServer("--appendonly", kept[0], "--appendfsync", kept[1], folder=case.directory) as server,
    ):
        where = f"{server.url}?socket_timeout=0.3&socket_connect_timeout=0.3"
        load = Load([RedisLedger(where, "proof") for _ in range(2)], rng)
        try:
            load.wait(rng.randint(5, 60))
            break_redis(case, server, load, end)
            load.wait(rng.randint(5, 60))
        finally:
            load.stop()
        require_books(load, RedisLedger(server.url, "proof"))
    lacked = [text for text in told.texts if "lacks what it has acknowledged" in text]
    never(end == "no data" and len(load.refused) < 1, "a Redis without its data refused nobody")
    never(end in ("kill -9", "SIGSTOP") and lacked, f"a Redis with all its data is said to lack some: {lacked}")
    never(end in ("older data", "no data") and not lacked, "nobody was told that data was lost")


def break_redis(case: Case, server: redis_server.RedisServer, load: Load, end: str) -> None:
    """Let it die under its load, and come back."""
    older = case.directory / "older.rdb"
    if end == "older data":
        with server.client() as client:
            client.save()
        shutil.copy(case.directory / "dump.rdb", older)
        load.wait(case.rng.randint(5, 60))
    case.fault(end, f"after {load.done} calls")
    if end == "SIGSTOP":
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(case.rng.choice([0.05, 0.4, 0.8]))
        server.process.send_signal(signal.SIGCONT)
        return
    server.kill()
    (case.directory / "dump.rdb").unlink(missing_ok=True)
    if end == "older data":
        shutil.copy(older, case.directory / "dump.rdb")
    server.start()
    if end == "no data":
        load.until(lambda: bool(load.refused))
        for ledger in load.ledgers:
            insist(ledger.repair)


def require_books(load: Load, third: Any) -> None:
    """Raise unless what both processes, and a third one, find is what was billed."""
    for ledger in load.ledgers:
        # One whose threads the machine let wait has made no call since, and finds only by asking what the server lacks.
        insist(lambda ledger=ledger: ledger.read(GLOBAL))  # type: ignore[misc]
    for ledger in load.ledgers:
        settled(ledger)
    for ledger in (*load.ledgers, third):
        for name in (GLOBAL, ALICE):
            account = ledger.read(name)
            found = (account.usd, account.held, account.calls, account.slots[0].spent, account.slots[0].amount)
            expected = (load.spent, 0, load.calls, load.spent, LIMIT)
            never(
                found != expected,
                f"{name} is charged {found} (USD, held, calls, of its limit, limit), the bill is {expected}",
            )
        never(left := ledger.open_holds() or ledger.uncertain(), f"somebody is still charged for: {left}")
        check(ledger)
    for ledger in (*load.ledgers, third):
        ledger.close()


# -- a server of ledgers

STARTS = ["its ledger", "an older copy", "nothing"]


def restart_server(case: Case, start: str) -> None:
    """A server under load, which is started again with such a ledger, from its first call to the books."""
    rng = case.rng
    now, older = case.directory / "now", case.directory / "older"
    logging.getLogger("budgeted").setLevel(logging.ERROR)
    with (
        listening(logging.ERROR) as told,
        Serving(ledger=now, hold_timeout=10**10) as first,
        FaultyProxy(_address(first)) as proxy,
    ):
        url = f"http://127.0.0.1:{proxy.port}"
        load = Load([HTTPLedger(url, "proof") for _ in range(2)], rng)
        try:
            load.wait(rng.randint(5, 40))
            if start == "an older copy":
                shutil.copytree(now, older)
                load.wait(rng.randint(5, 40))
            case.fault(f"server restart with {start}", f"after {load.done} calls")
            where = {"its ledger": now, "an older copy": older, "nothing": "memory://"}[start]
            with Serving(ledger=where, hold_timeout=10**10) as second:
                proxy.lead_to(_address(second))
                load.wait(rng.randint(5, 40))
                load.stop()
                require_books(load, HTTPLedger(second.url, "proof"))
        finally:
            load.stop()
    lacked = [text for text in told.texts if "lacks what it has acknowledged" in text]
    never(start == "its ledger" and lacked, f"a server with all its data is said to lack some: {lacked}")
    never(start != "its ledger" and not lacked, "nobody was told that data was lost")


def _address(serving: Serving) -> tuple[str, int]:
    return "127.0.0.1", int(serving.url.rpartition(":")[2])
