"""A simulated network between clients of ``budgeted serve`` and its real ASGI application.

Requests and replies are lost, late and repeated, a gateway answers instead, the server is started anew, and clients are
killed. What the server's ledger knows is kept: what is tried here is that no verb is done twice, and none is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import anyio.to_thread
import pytest

from budgeted.errors import LedgerError
from budgeted.ledger import background_worker, network_ledger
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.http import connections
from budgeted.ledger.http.ledger import HTTPLedger
from budgeted.ledger.http.sent_once import UnconnectedError
from budgeted.ledger.memory import ledger as memory
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.server import ServerSettings, client_leases, create_app
from proof.simulation.books import Books
from proof.simulation.life import LIMIT, Life, limit_of
from proof.simulation.world import BEGINNING, Faults

ONCE = {"correct", "reset", "delete", "restore", "set_limits"}
"""Verbs of which a late request is one that somebody has given up: it does not come after later ones of its client."""


class Network:
    """The machine that clients and the server share: a clock, a wire, and what goes wrong on it."""

    def __init__(self, rng: random.Random, faults: Faults, loop: asyncio.AbstractEventLoop) -> None:
        self.rng, self.faults, self.loop = rng, faults, loop
        self.now = BEGINNING
        self.power_cuts = 0
        self.stored = MemoryLedger()
        self.late: list[tuple[str, bytes, dict[str, str]]] = []
        self.jobs: list[Callable[[], object]] = []
        self.start_server()

    def note(self, what: str) -> None:
        """Note what was learned, for the story of the run."""
        self.faults.note(f"{self.now - BEGINNING:10.4f}: {what}")

    def start_server(self) -> None:
        """A server that remembers no request, over the same ledger."""
        self.app = create_app(ServerSettings(ledger=self.stored))

    def strikes(self, kind: str, detail: str) -> bool:
        """Whether this goes wrong now; it is counted if so."""
        if not self.faults.strikes(kind, self.rng):
            return False
        self.faults.tell(kind, detail)
        return True

    def ask(self, target: str, body: bytes | None, headers: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
        """Send a request, as a client's connections do."""
        self.now += 0.001
        verb, request = target.partition("?")[0], (target, body or b"", dict(headers))
        self.deliver_late(0.3)
        if self.strikes("server restart", verb):
            self.start_server()
        if self.strikes("refused connection", verb):
            raise UnconnectedError("refused")
        if self.strikes("lost request", verb):
            self.time_out(seconds)
        if self.strikes("late request", verb):
            self.late.append(request)
            self.time_out(seconds)
        if self.strikes("gateway error", verb):
            return self.rng.choice([502, 503, 504]), b"<html>"
        status, content = self.serve(*request)
        if self.strikes("repeated request", verb):
            status, content = self.serve(*request)
        if self.strikes("lost reply", verb):
            self.time_out(seconds)
        if self.strikes("torn reply", verb):
            raise ConnectionError("the connection ended before the answer was whole")
        if self.strikes("gateway error after it was done", verb):
            return self.rng.choice([502, 504]), b"<html>"
        return status, content

    def close(self) -> None:
        """A client closes its connections."""

    def forget(self) -> None:
        """A client leaves them to its parent."""

    def time_out(self, seconds: float) -> None:
        """Nothing comes."""
        self.now += seconds
        raise TimeoutError

    def deliver_late(self, rate: float) -> None:
        """Let requests arrive that their clients have given up."""
        waiting, self.late = self.late, []
        for one in waiting:
            if self.rng.random() < rate:
                self.faults.note(f"late: {one[0]}")
                self.serve(*one)
            else:
                self.late.append(one)

    def deliver_once(self) -> None:
        """Let those arrive that must not come after a later verb of their client."""
        for one in [one for one in self.late if one[0].partition("?")[0] in ONCE]:
            self.late.remove(one)
            self.serve(*one)

    def serve(self, target: str, content: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Have the application answer."""
        path, _, query = f"/v1/ledger/{target}".partition("?")
        sent = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(content)), **headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 9),
        }
        status, body = 0, b""

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status, body
            status = message.get("status", status)
            body += message.get("body", b"")

        self.loop.run_until_complete(self.app(scope, receive, send))
        return status, body

    def do_jobs(self) -> None:
        """Do what was put off; what fails again is put off again."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            try:
                job()
            except LedgerError:
                self.jobs.append(job)


class NetworkLife(Life):
    """A client of the server."""

    world: Network

    def open(self) -> None:
        """Open the ledger, and give it its limit if it has none."""
        self.ledger = ledger = HTTPLedger("http://127.0.0.1", "simulated")
        ledger._channel._connections = self.world
        self.books.limits.add(LIMIT)
        ledger.set_limits(GLOBAL, [limit_of(LIMIT)], create=True)
        self.books.limited = True

    def step(self) -> None:
        super().step()
        self.world.deliver_once()

    def hold(self, ledger: Any) -> None:
        before = set(self.books.possible)
        try:
            super().hold(ledger)
        except LedgerError:
            # If it was made after all, it is given back when the server answers.
            for id in self.books.possible.keys() - before:
                self.books.may(id, ("released", 0))
            raise

    def work_in_background(self, ledger: Any) -> None:
        self.world.do_jobs()
        ledger.upkeep()

    def flush(self, ledger: Any) -> None:
        ledger.flush()

    def die(self) -> None:
        """It is killed: its lease runs out."""
        if self.ledger is not None:
            self.books.owner_died(self.ledger.owner)
            self.ledger.closed = True
            self.ledger = None
        self.steps = 0
        self.world.jobs.clear()


_here: Network


def on(network: Network) -> None:
    """Have clients and server run on this network from now on."""
    global _here  # noqa: PLW0603 - modules are what is simulated
    _here = network


def _now(*_: object) -> float:
    return _here.now


def _sleep(seconds: float) -> None:
    _here.now += seconds


async def _at_once(run: Callable[[], Any], *_: object, **__: object) -> Any:
    return run()


def _retry(job: Callable[[], object]) -> None:
    _here.jobs.append(job)


def _drain() -> None:
    _here.do_jobs()


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Have clients and server go by a network's clock, with nothing in the background and no thread but this one."""
    clock = SimpleNamespace(time=_now, monotonic=_now, sleep=_sleep, clock_gettime=_now)
    with pytest.MonkeyPatch.context() as patch:
        for module in (connections, network_ledger, memory):
            patch.setattr(module, "time", clock)
        for module in (network_ledger, client_leases):
            patch.setattr(module, "boot_time", _now)
        patch.setattr(connections, "jitter", SimpleNamespace(between=lambda low, high: (low + high) / 2))
        patch.setattr(anyio.to_thread, "run_sync", _at_once)
        patch.setattr(background_worker, "wanted", lambda _: None)
        patch.setattr(background_worker, "start", lambda: None)
        patch.setattr(background_worker, "retry", _retry)
        patch.setattr(background_worker, "drain", _drain)
        yield


def run(network: Network, books: Books, lives: int) -> None:
    """Let clients live on a network, and compare what the server knows in the end."""
    rng = network.rng
    clients = [NetworkLife(network, books, rng.randint(4, 25)) for _ in range(lives)]
    while living := [client for client in clients if client.steps > 0]:
        client = rng.choice(living)
        if network.strikes("kill -9", "a client"):
            client.die()
            continue
        client.step()
    for client in clients:
        if client.ledger is not None:
            client.die()
    network.deliver_late(1.0)
    # All leases run out, and then the time of what nobody has a lease for.
    for seconds in (network_ledger.LEASE + 1, 2 * network.stored.hold_timeout + 1):
        network.now += seconds
        network.stored.sweep()
    books.highest_limit = max(books.limits, default=0)
    books.check(network.stored)
